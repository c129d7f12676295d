#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/os_buffer.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

/* F_SEAL_SEAL too: with a seal against writing, one process could keep the buffer from the next. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SEALS_AGAINST_WRITING (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

#define POPULATED_MOST ((size_t)256 << 20) /* bytes: whoever then touches little has lost some 20 ms */

static int make_file(void) {
    int fd = memfd_create("runium-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd >= 0 || errno != EINVAL) return fd;
    return memfd_create("runium-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

/* Beyond this limit the system would send SIGXFSZ, which ends the program. */
static bool is_within_limit(size_t size) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && (limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur);
}

/* vm.overcommit_memory. */
bool rni_os_promises_strictly(void) {
    char mode = '0';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, &mode, 1);
    close(fd);
    return got == 1 && mode == '2';
}

static bool give_size(int fd, size_t size) {
    if (!is_within_limit(size) || ftruncate(fd, (off_t)size) != 0) return false;
    return !rni_os_promises_strictly() || fallocate(fd, 0, 0, (off_t)size) == 0;
}

int rni_os_buffer_file(size_t size, rni_os_file_id *id) {
    if (rni_fault(RN_FAULT_MAPPING)) return -1;
    uint64_t made;
    int fd = make_file();
    if (fd < 0) return -1;
    if (give_size(fd, size) && fcntl(fd, F_ADD_SEALS, SEALS) == 0 && rni_os_is_buffer_file(fd, &made, id)) return fd;
    close(fd);
    return -1;
}

/* Memory files of huge pages have seals as well, but can run out of pages under whoever reads them. */
static bool is_of_plain_pages(int fd) {
    struct statfs system;
    return fstatfs(fd, &system) == 0 && (uint64_t)system.f_type == TMPFS_MAGIC;
}

bool rni_os_is_buffer_file(int fd, uint64_t *size, rni_os_file_id *id) {
    struct stat facts;
    int seals = fcntl(fd, F_GET_SEALS), flags = fcntl(fd, F_GETFL);
    if (seals < 0 || (seals & (SEALS | SEALS_AGAINST_WRITING)) != SEALS) return false;
    if (flags < 0 || (flags & O_ACCMODE) != O_RDWR || !is_of_plain_pages(fd) || fstat(fd, &facts) != 0) return false;
    *size = (uint64_t)facts.st_size;
    *id = (rni_os_file_id){.device = facts.st_dev, .number = facts.st_ino};
    return true;
}

bool rni_os_write_buffer(int fd, size_t offset, const void *data, size_t size) {
    const char *next = data;
    while (size > 0) {
        ssize_t written = pwrite(fd, next, size, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        next += written;
        offset += (size_t)written;
        size -= (size_t)written;
    }
    return true;
}

/* Pages that are not there stay away: somebody may have asked for far more than he uses. */
static bool is_worth_populating(int fd, size_t size) {
    struct stat facts;
    return size <= POPULATED_MOST && fstat(fd, &facts) == 0 && (uint64_t)facts.st_blocks * 512 >= size;
}

void *rni_os_map_buffer(int fd, size_t size) {
    if (rni_fault(RN_FAULT_MAPPING)) return NULL;
    int populate = is_worth_populating(fd, size) ? MAP_POPULATE : 0;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | populate, fd, 0);
    if (pages == MAP_FAILED) return NULL;
    rni_fault_hold(RN_FAULT_MAPPING, 1);
    return pages;
}

void rni_os_unmap_buffer(void *pages, size_t size) {
    munmap(pages, size);
    rni_fault_hold(RN_FAULT_MAPPING, -1);
}
