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
