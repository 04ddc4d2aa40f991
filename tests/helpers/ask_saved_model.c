/* Ask a SavedModel with TensorFlow's C library, without Python:
 *   ask_saved_model FOLDER INPUT uint8|string FILE OUTPUT
 * INPUT and OUTPUT are names of tensors, such as StatefulPartitionedCall:0. FILE holds the pixels of
 * one image, rows by columns by channels as its name says (....RxCxK), or an encoded image. The
 * float32 values of OUTPUT are printed, one a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(1);
}

static TF_Output tensor_of(TF_Graph *graph, char *name) {
  char *colon = strrchr(name, ':');
  *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return output;
}

static void release(void *data, size_t size, void *unused) { (void)size, (void)unused, free(data); }

int main(int count, char **words) {
  if (count != 6) return 2;
  FILE *file = fopen(words[4], "rb");
  if (file == NULL) return 2;
  fseek(file, 0, SEEK_END);
  size_t size = ftell(file);
  rewind(file);
  char *content = malloc(size);
  if (fread(content, 1, size, file) != size) return 2;
  fclose(file);

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, words[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output input = tensor_of(graph, words[2]), output = tensor_of(graph, words[5]);
  TF_Tensor *value, *answer;
  if (strcmp(words[3], "string") == 0) {
    int64_t shape[] = {1};
    value = TF_AllocateTensor(TF_STRING, shape, 1, sizeof(TF_TString));
    TF_TString *text = TF_TensorData(value);
    TF_TString_Init(text);
    TF_TString_Copy(text, content, size);
  } else {
    int64_t shape[] = {1, 0, 0, 0};
    if (sscanf(strrchr(words[4], '.'), ".%ldx%ldx%ld", &shape[1], &shape[2], &shape[3]) != 3)
      return 2;
    value = TF_NewTensor(TF_UINT8, shape, 4, content, size, release, NULL);
  }
  TF_SessionRun(session, NULL, &input, &value, 1, &output, &answer, 1, NULL, 0, NULL, status);
  check(status);
  float *values = TF_TensorData(answer);
  for (size_t i = 0; i < TF_TensorByteSize(answer) / sizeof(float); i++) printf("%.9g\n", values[i]);
  return 0;
}
