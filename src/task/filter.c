/* filter.c - see filter.h. Which calls Docker's profile withholds: Docker documentation, "Seccomp security profiles for
 * Docker". */
#include "task/filter.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"

/* By purpose; names that this architecture or libseccomp does not know are passed over. */
static const char *const allowed[] = {
	/* files and directories */
	"access", "chdir", "chmod", "chown", "chroot", "close", "close_range", "copy_file_range", "creat", "dup",
	"dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat",
	"fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr",
	"fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64",
	"getxattr", "lchown", "lgetxattr", "link", "linkat", "listxattr", "llistxattr", "lremovexattr", "lseek",
	"lsetxattr", "lstat", "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "open",
	"openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
	"readlink", "readlinkat", "readv", "removexattr", "rename", "renameat", "renameat2", "rmdir", "sendfile",
	"setxattr", "stat", "statfs", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "tee",
	"splice", "vmsplice", "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes", "write",
	"writev", "cachestat", "ioctl",
	/* waiting and events */
	"epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
	"epoll_wait_old", "eventfd", "eventfd2", "inotify_add_watch", "inotify_init", "inotify_init1",
	"inotify_rm_watch", "fanotify_mark", "pipe", "pipe2", "poll", "ppoll", "pselect6", "select", "signalfd",
	"signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime", "io_cancel", "io_destroy", "io_getevents",
	"io_pgetevents", "io_setup", "io_submit",
	/* memory */
	"brk", "madvise", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect",
	"mremap", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
	"process_mrelease", "remap_file_pages", "membarrier", "map_shadow_stack", "mseal",
	/* processes, threads, signals */
	"alarm", "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex",
	"futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "get_thread_area", "getcpu",
	"getegid", "geteuid", "getgid", "getgroups", "getitimer", "getpgid", "getpgrp", "getpid", "getppid",
	"getpriority", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "gettid", "getuid", "ioprio_get",
	"ioprio_set", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "modify_ldt",
	"nanosleep", "pause", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64",
	"process_vm_readv", "process_vm_writev", "ptrace", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending",
	"rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
	"sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam",
	"sched_setscheduler", "sched_yield", "seccomp", "set_robust_list", "set_thread_area", "set_tid_address",
	"setfsgid", "setfsuid", "setgid", "setgroups", "setitimer", "setpgid", "setpriority", "setregid", "setresgid",
	"setresuid", "setreuid", "setrlimit", "setsid", "setuid", "sigaltstack", "sigreturn", "tgkill", "time", "times",
	"tkill", "uname", "vfork", "wait4", "waitid", "waitpid",
	/* time */
	"clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "timer_create", "timer_delete",
	"timer_getoverrun", "timer_gettime", "timer_settime", "adjtimex", "clock_adjtime",
	/* sockets and System V */
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recv",
	"recvfrom", "recvmmsg", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
	"socketpair", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl",
	"msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
	/* the rest */
	"getrandom", "sysinfo"
};

/* Known and withheld: they reach the host, other namespaces or the kernel itself. */
static const char *const refused[] = { "acct",
				       "add_key",
				       "bpf",
				       "clock_settime",
				       "create_module",
				       "delete_module",
				       "fanotify_init",
				       "finit_module",
				       "fsconfig",
				       "fsmount",
				       "fsopen",
				       "fspick",
				       "get_mempolicy",
				       "init_module",
				       "io_uring_enter",
				       "io_uring_register",
				       "io_uring_setup",
				       "ioperm",
				       "iopl",
				       "kcmp",
				       "kexec_file_load",
				       "kexec_load",
				       "keyctl",
				       "lookup_dcookie",
				       "mbind",
				       "migrate_pages",
				       "mount",
				       "mount_setattr",
				       "move_mount",
				       "move_pages",
				       "open_by_handle_at",
				       "open_tree",
				       "perf_event_open",
				       "pivot_root",
				       "quotactl",
				       "quotactl_fd",
				       "reboot",
				       "request_key",
				       "set_mempolicy",
				       "set_mempolicy_home_node",
				       "setdomainname",
				       "sethostname",
				       "setns",
				       "settimeofday",
				       "swapoff",
				       "swapon",
				       "syslog",
				       "umount2",
				       "unshare",
				       "userfaultfd",
				       "uselib",
				       "ustat",
				       "sysfs",
				       "vhangup",
				       "vserver" };

#define NEW_NAMESPACES                                                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
/* What emulation switches ask for: Linux, Linux 32, both with UNAME26, and the query. */
static const unsigned long personalities[] = { PER_LINUX, PER_LINUX32, UNAME26, PER_LINUX32 | UNAME26, 0xffffffff };

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static bool known(const char *name)
{
	return seccomp_syscall_resolve_name(name) >= 0;
}

static json_t *rule(const char *const *names, size_t n, const char *action, int errno_ret)
{
	json_t *one = json_object(), *list = json_array();
	for (size_t i = 0; i < n; i++)
		if (known(names[i]))
			json_array_append_new(list, json_string(names[i]));
	json_object_set_new(one, "names", list);
	json_set_text(one, "action", action);
	if (errno_ret)
		json_set_int(one, "errnoRet", errno_ret);
	return one;
}

static json_t *rule_arg(const char *name, int64_t value, int64_t value_two, const char *op)
{
	json_t *one = rule(&name, 1, "SCMP_ACT_ALLOW", 0);
	json_object_set_new(one, "args",
			    json_pack("[{s:i,s:I,s:I,s:s}]", "index", 0, "value", (json_int_t)value, "valueTwo",
				      (json_int_t)value_two, "op", op));
	return one;
}

json_t *seccomp_oci_profile(void)
{
	static const char *const clone3[] = { "clone3" };
	json_t *profile = json_object(), *rules = json_array();
	json_set_text(profile, "defaultAction", "SCMP_ACT_ERRNO");
	json_set_int(profile, "defaultErrnoRet", ENOSYS);
#if defined(__x86_64__)
	json_object_set_new(profile, "architectures", json_pack("[s]", "SCMP_ARCH_X86_64"));
#elif defined(__aarch64__)
	json_object_set_new(profile, "architectures", json_pack("[s]", "SCMP_ARCH_AARCH64"));
#endif
	json_array_append_new(rules, rule(allowed, COUNT(allowed), "SCMP_ACT_ALLOW", 0));
	json_array_append_new(rules, rule(refused, COUNT(refused), "SCMP_ACT_ERRNO", EPERM));
	json_array_append_new(rules, rule(clone3, 1, "SCMP_ACT_ERRNO", ENOSYS));
	json_array_append_new(rules, rule_arg("clone", NEW_NAMESPACES, 0, "SCMP_CMP_MASKED_EQ"));
	json_array_append_new(rules, rule_arg("socket", AF_VSOCK, 0, "SCMP_CMP_NE"));
	for (size_t i = 0; i < COUNT(personalities); i++)
		json_array_append_new(rules, rule_arg("personality", (int64_t)personalities[i], 0, "SCMP_CMP_EQ"));
	json_object_set_new(profile, "syscalls", rules);
	return profile;
}

static int add_rules(scmp_filter_ctx ctx)
{
	int rc = 0;
	for (size_t i = 0; i < COUNT(allowed) && rc == 0; i++)
		if (known(allowed[i]))
			rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(allowed[i]), 0);
	for (size_t i = 0; i < COUNT(refused) && rc == 0; i++)
		if (known(refused[i]))
			rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), seccomp_syscall_resolve_name(refused[i]), 0);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_VSOCK));
	for (size_t i = 0; i < COUNT(personalities) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
				      SCMP_A0(SCMP_CMP_EQ, personalities[i]));
	return rc;
}

int seccomp_bpf_base64(struct buf *out, struct error *err)
{
	CLEANUP_FD int fd = memfd_create("seccomp", MFD_CLOEXEC);
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!ctx || fd < 0) {
		seccomp_release(ctx);
		return error_set(err, "make a seccomp filter");
	}
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree of comparisons instead of a list */
	int rc = add_rules(ctx);
	if (rc == 0)
		rc = seccomp_export_bpf(ctx, fd);
	seccomp_release(ctx);
	if (rc < 0)
		return error_errno(err, -rc, "make a seccomp filter");
	char bpf[65536];
	ssize_t n = pread(fd, bpf, sizeof(bpf), 0);
	if (n <= 0 || n == (ssize_t)sizeof(bpf))
		return error_set(err, "read the seccomp filter");
	CLEANUP_FREE char *text = mem_alloc((size_t)n * 4 / 3 + 8);
	buf_add(out, text, base64_encode(text, bpf, (size_t)n));
	return 0;
}
