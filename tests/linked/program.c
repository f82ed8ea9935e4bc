/* Runs the model `first` alone and on two workers, and `second`, which is linked into the same program; writes the
 * outputs of `first`, and fails where wrong use gives no error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "first.h"
#include "second.h"

#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "line %d: " #condition "\n", __LINE__); \
      return 1; \
    } \
  } while (0)

enum { ROWS = 37, COLUMNS = 20, WIDTH = 33 };

/* Worker 1 does the first third, worker 0 the rest. */
static void run(void *context, int64_t tiles, void (*body)(const void *, int64_t, int64_t, int64_t), const void *task) {
  ++*(int *)context;
  if (tiles / 3 > 0) body(task, 1, 0, tiles / 3);
  body(task, 0, tiles / 3, tiles);
}

int main(void) {
  static _Alignas(16) float x[ROWS * COLUMNS + 4], y[ROWS * WIDTH + 4], again[ROWS * WIDTH];
  static _Alignas(16) float copy[ROWS * COLUMNS];
  for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = (float)(i % 50) / 64 - 0.375f;
  int64_t extents[FIRST_EXTENTS] = {ROWS};
  int64_t bytes = first_workspace_bytes(extents, 2);
  EXPECT(bytes > 0 && first_workspace_bytes(extents, 1) <= bytes);
  char *workspace = aligned_alloc(FIRST_WORKSPACE_ALIGNMENT, (size_t)(bytes + 63) / 64 * 64);
  const void *inputs[FIRST_INPUTS] = {x};
  void *outputs[FIRST_OUTPUTS] = {0};
  outputs[FIRST_OUTPUT_Y] = y;
  outputs[FIRST_OUTPUT_SAME] = copy;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_OK);
  EXPECT(memcmp(copy, x, sizeof copy) == 0);
  int calls = 0;
  first_threads threads = {2, run, &calls};
  outputs[FIRST_OUTPUT_Y] = again;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, &threads) == FIRST_OK);
  EXPECT(calls > 0 && memcmp(y, again, sizeof again) == 0);

  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes - 64, &threads) == FIRST_WORKSPACE);
  EXPECT(first_run(inputs, outputs, extents, 0, (size_t)bytes, 0) == FIRST_WORKSPACE);
  EXPECT(first_run(inputs, outputs, extents, workspace + 8, (size_t)bytes, 0) == FIRST_MISALIGNED);
  EXPECT(first_run(0, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_NULL);
  EXPECT(first_run(inputs, outputs, 0, workspace, (size_t)bytes, 0) == FIRST_NULL);
  inputs[0] = x + 1;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_MISALIGNED);
  inputs[0] = x;
  outputs[FIRST_OUTPUT_Y] = x;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_OVERLAP);
  outputs[FIRST_OUTPUT_Y] = 0;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_NULL);
  outputs[FIRST_OUTPUT_Y] = y;
  extents[FIRST_EXTENT_N] = 65;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_EXTENT);
  EXPECT(first_workspace_bytes(extents, 1) == -FIRST_EXTENT);
  extents[FIRST_EXTENT_N] = 0;
  EXPECT(first_run(inputs, outputs, extents, workspace, (size_t)bytes, 0) == FIRST_EXTENT);

  _Alignas(16) float four[4] = {1, 2, 3, 4}, doubled[4];
  const void *second_in[SECOND_INPUTS] = {four};
  void *second_out[SECOND_OUTPUTS] = {doubled};
  EXPECT(second_workspace_bytes(0, 1) <= bytes);
  EXPECT(second_run(second_in, second_out, 0, workspace, (size_t)bytes, 0) == SECOND_OK);
  EXPECT(doubled[0] == 2 && doubled[3] == 8);
  fwrite(y, sizeof *y, ROWS * WIDTH, stdout);
  free(workspace);
  return 0;
}
