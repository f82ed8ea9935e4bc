/* The runtime of tcc: opens compiled models (model.tcc) and runs them. Link with -ltcc_rt.
 *
 * Functions that return int32_t give 0, or another number and a message from tcc_rt_last_error. A model may be used
 * by any number of threads; a session by one at a time. A model that is closed lives on until its sessions are. */
#ifndef TCC_RT_H
#define TCC_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tcc_rt_model tcc_rt_model;
typedef struct tcc_rt_session tcc_rt_session;

enum {
  TCC_RT_OK = 0,
  TCC_RT_NULL = 1,    /* a pointer that must not be null is */
  TCC_RT_OPEN = 2,    /* the file is no artifact that runs here */
  TCC_RT_RUN = 3,     /* the tensors do not fit the model, or the run failed */
  TCC_RT_OVERLAP = 4, /* an output overlaps another tensor */
  TCC_RT_PANIC = 5    /* a mistake in the runtime */
};

/* A contiguous tensor in the caller's memory. Data aligned to 16 bytes are used where they are, others are copied. */
typedef struct tcc_rt_tensor {
  const char *dtype;      /* "f32", "i64", ... */
  const int64_t *shape;   /* rank extents */
  size_t rank;
  void *data;
  size_t bytes;
} tcc_rt_tensor;

/* The caller's threads: `run` calls body(task, worker, begin, end) for ranges that cover 0 to tiles once, never with
 * one worker twice at a time, and comes back when all are done. */
typedef struct tcc_rt_threads {
  int64_t workers;
  void (*run)(void *context, int64_t tiles,
      void (*body)(const void *task, int64_t worker, int64_t begin, int64_t end), const void *task);
  void *context;
} tcc_rt_threads;

/* What went wrong last on this thread; valid until the next call on it. */
const char *tcc_rt_last_error(void);

int32_t tcc_rt_open(const char *path, tcc_rt_model **model);
void tcc_rt_close(tcc_rt_model *model);

size_t tcc_rt_input_count(const tcc_rt_model *model);
size_t tcc_rt_output_count(const tcc_rt_model *model);
/* The names of inputs and outputs, valid as long as the model; null beyond the last. */
const char *tcc_rt_input_name(const tcc_rt_model *model, size_t index);
const char *tcc_rt_output_name(const tcc_rt_model *model, size_t index);

/* A series of runs on so many threads of the runtime's own; 1 is the caller's thread. */
int32_t tcc_rt_session_new(const tcc_rt_model *model, size_t threads, tcc_rt_session **session);
/* The same on the caller's threads, which must outlive the session. */
int32_t tcc_rt_session_on(const tcc_rt_model *model, const tcc_rt_threads *threads, tcc_rt_session **session);
void tcc_rt_session_free(tcc_rt_session *session);

/* Runs the model from the inputs into the outputs, in the order of the model. */
int32_t tcc_rt_run(tcc_rt_session *session, const tcc_rt_tensor *inputs, size_t input_count,
    const tcc_rt_tensor *outputs, size_t output_count);

#ifdef __cplusplus
}
#endif

#endif
