/* A program that runs a model through model.h: tensors come from files and go to files, device memory from the driver.
 *
 *     caller FOLDER SYMBOL… -- INPUT… -- OUTPUT…
 */
#include "model.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16

static void *found(void *library, const char *name) {
  void *function = dlsym(library, name);
  if (function == NULL) exit((fprintf(stderr, "expected %s\n", name), 3));
  return function;
}

static void check(int failed) {
  if (failed) exit((fprintf(stderr, "%s\n", model_error()), 1));
}

int main(int count, char **arguments) {
  model_t *model;
  check(model_load(arguments[1], 0, &model));
  printf("%s\n", model_target(model));
  void *library = dlopen(getenv("TCC_CUDA_DRIVER"), RTLD_NOW);
  int (*push)(void *) = (int (*)(void *))found(library, "cuCtxPushCurrent_v2");
  int (*allocate)(uint64_t *, size_t) = (int (*)(uint64_t *, size_t))found(library, "cuMemAlloc_v2");
  int (*copy_in)(uint64_t, const void *, size_t) = (int (*)(uint64_t, const void *, size_t))found(library, "cuMemcpyHtoD_v2");
  int (*copy_out)(void *, uint64_t, size_t) = (int (*)(void *, uint64_t, size_t))found(library, "cuMemcpyDtoH_v2");
  int (*depth)(void) = (int (*)(void))found(library, "fake_depth");
  if (depth() != 0) return 4;
  push((void *)0x77);

  int64_t symbols[MOST] = {0};
  uint64_t inputs[MOST] = {0}, outputs[MOST] = {0}, workspace = 0;
  size_t sizes[MOST] = {0}, bytes;
  const char *results[MOST];
  int part = 0, numbers[3] = {0, 0, 0};
  for (int i = 2; i < count; i++) {
    if (strcmp(arguments[i], "--") == 0) {
      part++;
      continue;
    }
    int n = numbers[part]++;
    if (part == 0) {
      symbols[n] = atoll(arguments[i]);
    } else if (part == 1) {
      check(model_input_bytes(symbols, (unsigned)n, &bytes));
      char *content = malloc(bytes + 1);
      FILE *file = fopen(arguments[i], "rb");
      if (file == NULL || fread(content, 1, bytes + 1, file) != bytes) return 5;
      fclose(file);
      if (allocate(&inputs[n], bytes) || copy_in(inputs[n], content, bytes)) return 6;
      free(content);
    } else {
      check(model_output_bytes(symbols, (unsigned)n, &sizes[n]));
      if (allocate(&outputs[n], sizes[n])) return 6;
      results[n] = arguments[i];
    }
  }
  check(model_workspace_bytes(model, symbols, &bytes));
  if (bytes > 0 && allocate(&workspace, bytes)) return 6;
  if (bytes > 0 && model_run(model, symbols, inputs, outputs, workspace, bytes - 1, NULL) == 0) return 7;
  check(model_run(model, symbols, inputs, outputs, workspace, bytes, NULL));
  for (int n = 0; n < numbers[2]; n++) {
    char *content = malloc(sizes[n]);
    if (copy_out(content, outputs[n], sizes[n])) return 6;
    FILE *file = fopen(results[n], "wb");
    if (file == NULL || fwrite(content, 1, sizes[n], file) != sizes[n] || fclose(file) != 0) return 5;
    free(content);
  }
  model_free(model);
  return depth() == 1 ? 0 : 4;
}
