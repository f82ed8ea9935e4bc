/* Loads a compiled model through the driver of NVIDIA GPUs and launches its kernels; see model.h. */
#include "model.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A word of an expression in reverse Polish order: a constant, a symbol, or an operation on the last two. */
typedef struct {
  char op; /* 'c' constant, 's' symbol, '+', '*', '/' and '%' rounded down, '<' smaller, '>' larger */
  int64_t value;
} word;
typedef struct {
  uint32_t first, count;
} expr;
enum place { INPUT, OUTPUT, WEIGHT, ARENA };
typedef struct {
  enum place place;
  uint32_t number;
  expr offset, bytes;
} buffer;
typedef struct {
  expr grid[3];
  uint32_t block[3];
  expr shared, scratch;
  int has_scratch;
  uint32_t first_symbol, symbols;
} launch;
/* The least and the largest value of an open extent. */
typedef struct {
  int64_t least, most;
} range;
typedef struct {
  uint32_t kernel, first_buffer, buffers;
} step;
typedef struct {
  const char *name;
  int capability, alone, schedule, has_cubin;
} target;

@TABLES@
static __thread char message[4096];

static int fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return 1;
}

const char *MODEL(error)(void) { return message; }

static int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return 0;
  return a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
}

/* The value of an expression, or failure where it overflows. */
static int eval(expr e, const int64_t *symbols, int64_t *value) {
  int64_t stack[32];
  unsigned depth = 0;
  for (uint32_t i = 0; i < e.count; i++) {
    const word w = words[e.first + i];
    if (w.op == 'c' || w.op == 's') {
      if (depth == 32) return fail("expected an expression that fits the stack");
      stack[depth++] = w.op == 'c' ? w.value : symbols[w.value];
      continue;
    }
    if (depth < 2) return fail("expected two values for an operation");
    int64_t b = stack[--depth], a = stack[depth - 1], result = 0;
    int overflows = 0;
    switch (w.op) {
    case '+': overflows = __builtin_add_overflow(a, b, &result); break;
    case '*': overflows = __builtin_mul_overflow(a, b, &result); break;
    case '/': result = floor_div(a, b); break;
    case '%': result = a - b * floor_div(a, b); break;
    case '<': result = a < b ? a : b; break;
    default: result = a < b ? b : a; break;
    }
    if (overflows) return fail("expected a size of less than 64 bits");
    stack[depth - 1] = result;
  }
  if (depth != 1) return fail("expected one value of an expression");
  *value = stack[0];
  return 0;
}

static int size_of(expr e, const int64_t *symbols, size_t *bytes) {
  int64_t value;
  if (eval(e, symbols, &value)) return 1;
  if (value < 0) return fail("expected a size, got %lld", (long long)value);
  *bytes = (size_t)value;
  return 0;
}

/* The functions of the driver, by the names that it exports. */
#define FUNCTIONS(F) \
  F(cuInit, (unsigned)) \
  F(cuGetErrorString, (int, const char **)) \
  F(cuDeviceGet, (int *, int)) \
  F(cuDeviceGetAttribute, (int *, int, int)) \
  F(cuDevicePrimaryCtxRetain, (void **, int)) \
  F(cuDevicePrimaryCtxRelease_v2, (int)) \
  F(cuCtxPushCurrent_v2, (void *)) \
  F(cuCtxPopCurrent_v2, (void **)) \
  F(cuModuleLoadDataEx, (void **, const void *, unsigned, int *, void **)) \
  F(cuModuleUnload, (void *)) \
  F(cuModuleGetFunction, (void **, void *, const char *)) \
  F(cuFuncSetAttribute, (void *, int, int)) \
  F(cuLaunchKernel, (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, \
                     void **)) \
  F(cuMemAlloc_v2, (uint64_t *, size_t)) \
  F(cuMemFree_v2, (uint64_t)) \
  F(cuMemcpyHtoD_v2, (uint64_t, const void *, size_t))

struct MODEL(s) {
#define DECLARE(name, arguments) int(*name) arguments;
  FUNCTIONS(DECLARE)
  int device, retained;
  unsigned target;
  void *context, *module;
  void *functions[KERNELS + 1];
  uint64_t weights;
};

static int checked(const MODEL(t) *model, const char *call, int status) {
  const char *text = NULL;
  if (status == 0) return 0;
  if (model->cuGetErrorString(status, &text) != 0 || text == NULL) text = "an unknown error";
  return fail("%s: expected success, got %d: %s", call, status, text);
}
#define CALL(name, ...) checked(model, #name, model->name(__VA_ARGS__))

static int open_driver(MODEL(t) *model) {
  const char *path = getenv("TCC_CUDA_DRIVER");
  void *library = dlopen(path != NULL ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return fail("expected a driver for NVIDIA GPUs, found none: %s", dlerror());
#define LOAD(name, arguments) \
  *(void **)&model->name = dlsym(library, #name); \
  if (model->name == NULL) return fail("expected a driver with the function %s, found one without", #name);
  FUNCTIONS(LOAD)
  return CALL(cuInit, 0);
}

/* A file of the model's folder with a zero behind it. */
static char *read_file(const char *folder, const char *name, size_t *bytes) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
    fail("expected a shorter path than %s/%s", folder, name);
    return NULL;
  }
  FILE *file = fopen(path, "rb");
  char *content = NULL;
  long length = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0) length = ftell(file);
  if (length >= 0 && fseek(file, 0, SEEK_SET) == 0) content = malloc((size_t)length + 1);
  if (content != NULL && fread(content, 1, (size_t)length, file) != (size_t)length) {
    free(content);
    content = NULL;
  }
  if (file != NULL) fclose(file);
  if (content == NULL) {
    fail("%s: expected a file that can be read", path);
    return NULL;
  }
  content[length] = 0;
  *bytes = (size_t)length;
  return content;
}

/* The target that suits the GPU best: made for it alone, or else for the newest that it is not older than. */
static int choose(MODEL(t) *model, int capability) {
  int best = -1;
  for (unsigned i = 0; i < TARGETS; i++) {
    const target *t = &targets[i];
    if (t->alone ? t->capability != capability : t->capability > capability) continue;
    if (t->capability * 2 + t->alone <= best) continue;
    best = t->capability * 2 + t->alone;
    model->target = i;
  }
  if (best < 0) return fail("expected code for compute capability %d, found none", capability);
  return 0;
}

static int load_module(MODEL(t) *model, const char *folder, int capability) {
  const target *t = &targets[model->target];
  int same = t->capability == capability ||
             (!t->alone && t->capability / 10 == capability / 10 && t->capability <= capability);
  char name[64];
  size_t bytes;
  snprintf(name, sizeof name, "kernels/%s.%s", t->name, t->has_cubin && same ? "cubin" : "ptx");
  char *image = read_file(folder, name, &bytes);
  if (image == NULL) return 1;
  char log[2048] = "";
  int options[] = {5, 6}; /* the log of errors, and its size */
  void *values[] = {log, (void *)sizeof log};
  int status = model->cuModuleLoadDataEx(&model->module, image, 2, options, values);
  free(image);
  if (status != 0) {
    model->module = NULL;
    checked(model, "cuModuleLoadDataEx", status);
    return log[0] == 0 ? 1 : fail("%s: expected code that the driver takes, got %d: %s", name, status, log);
  }
  for (unsigned i = 0; i < KERNELS; i++) {
    if (CALL(cuModuleGetFunction, &model->functions[i], model->module, kernels[i])) return 1;
    const launch *l = &launches[t->schedule][i];
    /* What depends on symbols may need all there is; blocks have 48 KiB without asking. */
    int most = 49152;
    if (l->shared.count == 1 && words[l->shared.first].op == 'c') most = (int)words[l->shared.first].value;
    else if (CALL(cuDeviceGetAttribute, &most, 97, model->device)) return 1;
    if (most > 49152 && CALL(cuFuncSetAttribute, model->functions[i], 8, most)) return 1;
  }
  return 0;
}

static int load_weights(MODEL(t) *model, const char *folder) {
  size_t bytes;
  if (WEIGHT_BYTES == 0) return 0;
  char *all = read_file(folder, "weights.bin", &bytes);
  if (all == NULL) return 1;
  int failed = bytes < WEIGHT_BYTES ? fail("weights.bin: expected %zu bytes, got %zu", (size_t)WEIGHT_BYTES, bytes)
                                    : CALL(cuMemAlloc_v2, &model->weights, WEIGHT_BYTES);
  if (!failed) failed = CALL(cuMemcpyHtoD_v2, model->weights, all, WEIGHT_BYTES);
  free(all);
  return failed;
}

int MODEL(load)(const char *folder, int device, MODEL(t) **made) {
  MODEL(t) *model = calloc(1, sizeof *model);
  int major, minor;
  *made = NULL;
  if (model == NULL) return fail("expected memory for a model, found none");
  int failed = open_driver(model) || CALL(cuDeviceGet, &model->device, device) ||
               CALL(cuDeviceGetAttribute, &major, 75, model->device) ||
               CALL(cuDeviceGetAttribute, &minor, 76, model->device) || choose(model, major * 10 + minor) ||
               CALL(cuDevicePrimaryCtxRetain, &model->context, model->device);
  if (failed) {
    free(model);
    return 1;
  }
  model->retained = 1;
  failed = CALL(cuCtxPushCurrent_v2, model->context);
  if (!failed) {
    void *before;
    failed = load_module(model, folder, major * 10 + minor) || load_weights(model, folder);
    model->cuCtxPopCurrent_v2(&before);
  }
  if (failed) {
    MODEL(free)(model);
    return 1;
  }
  *made = model;
  return 0;
}

void MODEL(free)(MODEL(t) *model) {
  if (model == NULL) return;
  if (model->retained && model->cuCtxPushCurrent_v2(model->context) == 0) {
    void *before;
    if (model->weights != 0) model->cuMemFree_v2(model->weights);
    if (model->module != NULL) model->cuModuleUnload(model->module);
    model->cuCtxPopCurrent_v2(&before);
  }
  if (model->retained) model->cuDevicePrimaryCtxRelease_v2(model->device);
  free(model);
}

const char *MODEL(target)(const MODEL(t) *model) { return targets[model->target].name; }

int MODEL(input_bytes)(const int64_t *symbols, unsigned input, size_t *bytes) {
  if (input >= INPUTS) return fail("expected an input below %d, got %u", INPUTS, input);
  return size_of(buffers[input_buffers[input]].bytes, symbols, bytes);
}

int MODEL(output_bytes)(const int64_t *symbols, unsigned output, size_t *bytes) {
  if (output >= OUTPUTS) return fail("expected an output below %d, got %u", OUTPUTS, output);
  return size_of(buffers[output_buffers[output]].bytes, symbols, bytes);
}

static int grid_of(const launch *l, const int64_t *symbols, uint32_t grid[3]) {
  for (int axis = 0; axis < 3; axis++) {
    int64_t blocks;
    if (eval(l->grid[axis], symbols, &blocks)) return 1;
    if (blocks > UINT32_MAX) return fail("expected a grid below 2^32, got %lld", (long long)blocks);
    grid[axis] = blocks < 0 ? 0 : (uint32_t)blocks;
  }
  return 0;
}

static int arena_bytes(const int64_t *symbols, size_t *bytes) {
  *bytes = 0;
  if (arena.count != 0 && size_of(arena, symbols, bytes)) return 1;
  *bytes = (*bytes + 255) / 256 * 256;
  return 0;
}

int MODEL(workspace_bytes)(const MODEL(t) *model, const int64_t *symbols, size_t *bytes) {
  size_t most = 0;
  if (arena_bytes(symbols, bytes)) return 1;
  for (unsigned i = 0; i < STEPS; i++) {
    const launch *l = &launches[targets[model->target].schedule][steps[i].kernel];
    size_t each;
    uint32_t grid[3];
    if (!l->has_scratch) continue;
    if (size_of(l->scratch, symbols, &each) || grid_of(l, symbols, grid)) return 1;
    each *= (size_t)grid[0] * grid[1] * grid[2];
    if (each > most) most = each;
  }
  *bytes += most;
  return 0;
}

static int address_of(const MODEL(t) *model, const buffer *b, const int64_t *symbols, const uint64_t *inputs,
                      const uint64_t *outputs, uint64_t workspace, uint64_t *address) {
  size_t offset;
  switch (b->place) {
  case INPUT: *address = inputs[b->number]; return 0;
  case OUTPUT: *address = outputs[b->number]; return 0;
  case WEIGHT: *address = model->weights + weights[b->number]; return 0;
  default:
    if (size_of(b->offset, symbols, &offset)) return 1;
    *address = workspace + offset;
    return 0;
  }
}

static int launch_all(const MODEL(t) *model, const int64_t *symbols, const uint64_t *inputs, const uint64_t *outputs,
                      uint64_t workspace, void *stream) {
  size_t arena_end;
  if (arena_bytes(symbols, &arena_end)) return 1;
  for (unsigned i = 0; i < STEPS; i++) {
    const step *s = &steps[i];
    const launch *l = &launches[targets[model->target].schedule][s->kernel];
    uint64_t arguments[MOST_ARGUMENTS + 1];
    size_t count = 0, shared;
    uint32_t grid[3];
    if (grid_of(l, symbols, grid) || size_of(l->shared, symbols, &shared)) return 1;
    if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0) continue;
    for (uint32_t b = 0; b < s->buffers; b++) {
      const buffer *own = &buffers[step_buffers[s->first_buffer + b]];
      if (address_of(model, own, symbols, inputs, outputs, workspace, &arguments[count++])) return 1;
    }
    for (uint32_t k = 0; k < l->symbols; k++) arguments[count++] = (uint64_t)symbols[launch_symbols[l->first_symbol + k]];
    if (l->has_scratch) arguments[count++] = workspace + arena_end;
    size_t bytes = count * sizeof *arguments;
    void *extra[] = {(void *)1, arguments, (void *)2, &bytes, NULL};
    if (CALL(cuLaunchKernel, model->functions[s->kernel], grid[0], grid[1], grid[2], l->block[0], l->block[1],
             l->block[2], (unsigned)shared, stream, NULL, extra))
      return 1;
  }
  return 0;
}

int MODEL(run)(const MODEL(t) *model, const int64_t *symbols, const uint64_t *inputs, const uint64_t *outputs,
               uint64_t workspace, size_t workspace_bytes, void *stream) {
  size_t needed;
  void *before;
  for (int i = 0; i < SYMBOLS; i++)
    if (symbols[i] < ranges[i].least || symbols[i] > ranges[i].most)
      return fail("extent %d: expected %lld to %lld, got %lld", i, (long long)ranges[i].least, (long long)ranges[i].most,
                  (long long)symbols[i]);
  if (MODEL(workspace_bytes)(model, symbols, &needed)) return 1;
  if (workspace_bytes < needed) return fail("expected a workspace of %zu bytes, got %zu", needed, workspace_bytes);
  if (CALL(cuCtxPushCurrent_v2, model->context)) return 1;
  int failed = launch_all(model, symbols, inputs, outputs, workspace, stream);
  model->cuCtxPopCurrent_v2(&before);
  return failed;
}
