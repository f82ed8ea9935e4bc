/* A driver without a GPU: it gives out memory of the host, carries out copies, and writes every call to LOG_PATH.
 * Launches are only written down, so that an emulator can carry them out afterwards. The call FAIL_CALL, if that is
 * defined, gives FAIL_CODE. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAIL_CALL
#define FAIL_CALL ""
#define FAIL_CODE 0
#endif
#ifndef CAPABILITY
#define CAPABILITY 80
#endif

static FILE *log_file(void) {
  static FILE *file;
  if (file == NULL) file = fopen(LOG_PATH, "w");
  return file;
}

#define SAY(...) (fprintf(log_file(), __VA_ARGS__), fflush(log_file()))
#define BEGIN(name) \
  if (strcmp(FAIL_CALL, #name) == 0) { \
    SAY(#name " fails\n"); \
    return FAIL_CODE; \
  }

/* What a captured stream was given, as the text of the log. */
static char *captured;
static size_t captured_bytes;
static FILE *capture;

int cuInit(unsigned flags) {
  BEGIN(cuInit)
  SAY("cuInit %u\n", flags);
  return 0;
}
int cuGetErrorName(int code, const char **text) {
  *text = code == 218 ? "CUDA_ERROR_INVALID_PTX" : code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OTHER";
  return 0;
}
int cuGetErrorString(int code, const char **text) {
  *text = code == 218 ? "a PTX JIT compilation failed" : code == 2 ? "out of memory" : "something else";
  return 0;
}
int cuDeviceGetCount(int *count) {
  *count = 1;
  return 0;
}
int cuDeviceGet(int *device, int ordinal) {
  *device = 7;
  return ordinal == 0 ? 0 : 101;
}
int cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, (size_t)length, "fake %d", device);
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? CAPABILITY / 10 : attribute == 76 ? CAPABILITY % 10 : attribute == 97 ? 166912 : 1;
  return device == 7 ? 0 : 101;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  BEGIN(cuDevicePrimaryCtxRetain)
  *context = (void *)0x77;
  SAY("retain %d\n", device);
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  SAY("release %d\n", device);
  return 0;
}
static int depth;
int cuCtxPushCurrent_v2(void *context) {
  if (context != (void *)0x77) return 201;
  depth++;
  return 0;
}
int cuCtxPopCurrent_v2(void **context) {
  *context = (void *)0x77;
  if (depth == 0) return 201;
  depth--;
  return 0;
}
/* How many contexts were pushed and not popped. */
int fake_depth(void) { return depth; }

#define IN_CONTEXT \
  if (depth == 0) return 201;

int cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
  IN_CONTEXT
  if (strcmp(FAIL_CALL, "cuModuleLoadDataEx") == 0) {
    for (unsigned i = 0; i < count; i++)
      if (options[i] == 5) strcpy(values[i], "ptxas application ptx input, line 2; error : unknown target\n");
    return FAIL_CODE;
  }
  const char *at = strstr(image, ".target ");
  SAY("module %.*s\n", at == NULL ? 5 : (int)strcspn(at + 8, "\n"), at == NULL ? "cubin" : at + 8);
  *module = (void *)0x88;
  return 0;
}
int cuModuleUnload(void *module) {
  IN_CONTEXT
  SAY("unload\n");
  return module == (void *)0x88 ? 0 : 400;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
  IN_CONTEXT
  BEGIN(cuModuleGetFunction)
  *function = strdup(name);
  return module == (void *)0x88 ? 0 : 400;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
  IN_CONTEXT
  SAY("attribute %s %d %d\n", (char *)function, attribute, value);
  return 0;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
  IN_CONTEXT
  BEGIN(cuLaunchKernel)
  if (parameters != NULL || extra == NULL || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != NULL)
    return 1;
  const uint64_t *arguments = extra[1];
  size_t count = *(size_t *)extra[3] / 8;
  FILE *out = capture != NULL ? capture : log_file();
  fprintf(out, "launch %s %u %u %u %u %u %u %u", (char *)function, gx, gy, gz, bx, by, bz, shared);
  for (size_t i = 0; i < count; i++) fprintf(out, " %llu", (unsigned long long)arguments[i]);
  fprintf(out, "\n");
  fflush(out);
  (void)stream;
  return 0;
}
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  IN_CONTEXT
  BEGIN(cuMemAlloc_v2)
  if (bytes == 0) return 1;
  *address = (uint64_t)(uintptr_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
  SAY("alloc %llu %zu\n", (unsigned long long)*address, bytes);
  return 0;
}
int cuMemFree_v2(uint64_t address) {
  IN_CONTEXT
  SAY("free %llu\n", (unsigned long long)address);
  free((void *)(uintptr_t)address);
  return 0;
}
static int copy_in(uint64_t to, const void *from, size_t bytes) {
  IN_CONTEXT
  SAY("write %llu ", (unsigned long long)to);
  for (size_t i = 0; i < bytes; i++) fprintf(log_file(), "%02x", ((const unsigned char *)from)[i]);
  SAY("\n");
  memcpy((void *)(uintptr_t)to, from, bytes);
  return 0;
}
static int copy_out(void *to, uint64_t from, size_t bytes) {
  IN_CONTEXT
  SAY("read %llu %zu\n", (unsigned long long)from, bytes);
  memcpy(to, (void *)(uintptr_t)from, bytes);
  return 0;
}
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) { return copy_in(to, from, bytes); }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) { return copy_out(to, from, bytes); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
  return stream == NULL ? 1 : copy_in(to, from, bytes);
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
  return stream == NULL ? 1 : copy_out(to, from, bytes);
}
int cuStreamCreate(void **stream, unsigned flags) {
  IN_CONTEXT
  *stream = (void *)0x99;
  SAY("stream %u\n", flags);
  return 0;
}
int cuStreamDestroy_v2(void *stream) {
  IN_CONTEXT
  return stream == (void *)0x99 ? 0 : 400;
}
int cuStreamSynchronize(void *stream) {
  IN_CONTEXT
  SAY("wait\n");
  return stream == (void *)0x99 ? 0 : 400;
}
int cuStreamBeginCapture_v2(void *stream, int mode) {
  IN_CONTEXT
  SAY("capture %d\n", mode);
  capture = open_memstream(&captured, &captured_bytes);
  return stream != NULL && capture != NULL ? 0 : 400;
}
int cuStreamEndCapture(void *stream, void **graph) {
  IN_CONTEXT
  if (stream == NULL || capture == NULL) return 400;
  fclose(capture);
  capture = NULL;
  *graph = captured;
  SAY("captured\n");
  return 0;
}
int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
  IN_CONTEXT
  *exec = strdup(graph);
  return flags == 0 ? 0 : 1;
}
int cuGraphDestroy(void *graph) {
  IN_CONTEXT
  free(graph);
  return 0;
}
int cuGraphLaunch(void *exec, void *stream) {
  IN_CONTEXT
  SAY("graph\n%s", (char *)exec);
  return stream != NULL ? 0 : 400;
}
int cuGraphExecDestroy(void *exec) {
  IN_CONTEXT
  free(exec);
  return 0;
}
int cuEventCreate(void **event, unsigned flags) {
  IN_CONTEXT
  *event = (void *)0xaa;
  return flags == 0 ? 0 : 1;
}
int cuEventDestroy_v2(void *event) { return event == (void *)0xaa ? 0 : 400; }
int cuEventRecord(void *event, void *stream) {
  IN_CONTEXT
  SAY("event\n");
  return event == (void *)0xaa && stream != NULL ? 0 : 400;
}
int cuEventSynchronize(void *event) { return event == (void *)0xaa ? 0 : 400; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
  *milliseconds = 1.5f;
  return start == end ? 0 : 400;
}
