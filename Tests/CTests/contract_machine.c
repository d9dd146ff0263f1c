/* What the machine gives to this process. */
#define _POSIX_C_SOURCE 200809L

#include "contract.h"

#include <unistd.h>

/* The memory that this process may use: within the machine's. */
void memory(void) {
  int64_t bytes = 0;
  CHECK(speediff_memory_limit(&bytes) == SPEEDIFF_OK);
  CHECK(bytes > 1 << 20 && bytes <= (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
  CHECK_ERROR(speediff_memory_limit(NULL), SPEEDIFF_ERROR_NULL_POINTER, "bytes");
}

/* The precision that this processor is faster with. */
void precision(void) {
  int64_t found = -1;
  CHECK(speediff_fastest_precision(&found) == SPEEDIFF_OK);
  CHECK(found == SPEEDIFF_PRECISION_FLOAT32 || found == SPEEDIFF_PRECISION_BFLOAT16);
  CHECK_ERROR(speediff_fastest_precision(NULL), SPEEDIFF_ERROR_NULL_POINTER, "precision");
}
