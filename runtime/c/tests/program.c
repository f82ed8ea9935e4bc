/* Opens a model, runs it on two callers' workers, and sees that wrong use is an error with a message. */
#include <stdio.h>
#include <string.h>

#include "tcc_rt.h"

#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      printf("line %d: " #condition ": %s\n", __LINE__, tcc_rt_last_error()); \
      return 1; \
    } \
  } while (0)

/* Worker 1 does the first half, worker 0 the second. */
static void run(void *context, int64_t tiles, void (*body)(const void *, int64_t, int64_t, int64_t), const void *task) {
  ++*(int *)context;
  if (tiles / 2 > 0) body(task, 1, 0, tiles / 2);
  body(task, 0, tiles / 2, tiles);
}

int main(int argc, char **argv) {
  tcc_rt_model *model = NULL;
  tcc_rt_session *session = NULL;
  _Alignas(16) float x[3 * 8], w[8 * 4], y[3 * 4];
  int calls = 0;
  for (int i = 0; i < 24; i++) x[i] = (float)i;
  for (int i = 0; i < 32; i++) w[i] = (float)(i % 4);
  EXPECT(argc == 2);
  EXPECT(tcc_rt_open("no such file", &model) == TCC_RT_OPEN && strstr(tcc_rt_last_error(), "no such file"));
  EXPECT(tcc_rt_open(NULL, &model) == TCC_RT_NULL);
  EXPECT(tcc_rt_open(argv[1], &model) == TCC_RT_OK);
  EXPECT(tcc_rt_input_count(model) == 2 && tcc_rt_output_count(model) == 1);
  EXPECT(!tcc_rt_input_name(model, 2));
  tcc_rt_threads threads = {2, run, &calls};
  EXPECT(tcc_rt_session_on(model, &threads, &session) == TCC_RT_OK);
  printf("%s -> %s: ", tcc_rt_input_name(model, 0), tcc_rt_output_name(model, 0));
  /* The session keeps what it needs of the model. */
  tcc_rt_close(model);
  int64_t of_x[2] = {3, 8}, of_w[2] = {8, 4}, of_y[2] = {3, 4};
  tcc_rt_tensor inputs[2] = {{"f32", of_x, 2, x, sizeof x}, {"f32", of_w, 2, w, sizeof w}};
  tcc_rt_tensor output = {"f32", of_y, 2, y, sizeof y};
  EXPECT(tcc_rt_run(session, inputs, 2, &output, 1) == TCC_RT_OK);
  EXPECT(calls > 0);
  for (int row = 0; row < 3; row++)
    for (int column = 0; column < 4; column++) {
      float sum = 0;
      for (int k = 0; k < 8; k++) sum += x[row * 8 + k] * w[k * 4 + column];
      EXPECT(y[row * 4 + column] == sum);
    }
  EXPECT(tcc_rt_run(session, inputs, 1, &output, 1) == TCC_RT_RUN);
  EXPECT(strstr(tcc_rt_last_error(), "expected 2 inputs, got 1"));
  of_x[1] = 9;
  EXPECT(tcc_rt_run(session, inputs, 2, &output, 1) == TCC_RT_RUN && strstr(tcc_rt_last_error(), "input `x`"));
  of_x[1] = -1;
  EXPECT(tcc_rt_run(session, inputs, 2, &output, 1) == TCC_RT_RUN);
  of_x[1] = 8;
  output.data = x;
  EXPECT(tcc_rt_run(session, inputs, 2, &output, 1) == TCC_RT_OVERLAP);
  output.data = NULL;
  EXPECT(tcc_rt_run(session, inputs, 2, &output, 1) == TCC_RT_NULL);
  tcc_rt_session_free(session);
  tcc_rt_session_free(NULL);
  printf("ok\n");
  return 0;
}
