/* Runs a compiled model on an NVIDIA GPU. Needs the driver when it runs, and nothing of a toolkit to build:
 *
 *     cc -O2 -c model.c && cc program.o model.o -ldl
 *
 * Functions give 0, or something else and say why with MODEL(error). All memory is the caller's: addresses are of
 * the GPU, each a multiple of 16, the workspace's of 256. MODEL(run) only puts launches into the stream: it waits for
 * nothing, allocates nothing, and can be captured in a graph. Several models in one program are told apart by
 * defining MODEL before this file is included, in model.c too; it may be included once for each.
 *
@DESCRIPTION@ */
#ifndef MODEL
#define MODEL(name) model_##name
#endif

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct MODEL(s) MODEL(t);

/* Loads the model from its folder for the GPU of this number, into the device's primary context. */
int MODEL(load)(const char *folder, int device, MODEL(t) **model);
void MODEL(free)(MODEL(t) *model);

/* The target whose code was chosen, such as "sm_80". */
const char *MODEL(target)(const MODEL(t) *model);

/* What the last call of this thread that failed has to say. */
const char *MODEL(error)(void);

/* The extents that are open, in the order of the list above, are given to each call as `symbols`. */
int MODEL(input_bytes)(const int64_t *symbols, unsigned input, size_t *bytes);
int MODEL(output_bytes)(const int64_t *symbols, unsigned output, size_t *bytes);
int MODEL(workspace_bytes)(const MODEL(t) *model, const int64_t *symbols, size_t *bytes);

/* Puts the model's launches into a stream, a CUstream or cudaStream_t. */
int MODEL(run)(const MODEL(t) *model, const int64_t *symbols, const uint64_t *inputs, const uint64_t *outputs,
               uint64_t workspace, size_t workspace_bytes, void *stream);

#ifdef __cplusplus
}
#endif
