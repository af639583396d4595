/* worker.c - quern-jsonata: evaluates JSONata for the daemon.
 *
 * DESIGN: a child with one job. It loads the official jsonata package and glue.js into JavaScriptCore, then gives up
 * all it does not need: no new files, sockets, processes (seccomp), no privileges; a watcher ends it above its memory
 * limit; the daemon kills it above its time limit. Requests and answers are frames on standard input and output: 4-byte
 * big-endian length, then JSON text. It does not: keep state between requests but compiled expressions, or trust its
 * input's size (64 MiB a frame at most). Usage: quern-jsonata DIRECTORY MEMORY_BYTES   (DIRECTORY holds jsonata.js and
 * glue.js) */
#include <JavaScriptCore/JavaScript.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <openssl/evp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FRAME = 64 << 20, WATCH_US = 20000 };

static JSGlobalContextRef context;
static int replied;

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "quern-jsonata: %s\n", what);
	exit(1);
}

static char *read_file(const char *directory, const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *f = fopen(path, "re");
	if (!f)
		die(path);
	char *text = NULL;
	size_t n = 0;
	if (getdelim(&text, &n, 0, f) < 0)
		die(path);
	fclose(f);
	return text;
}

static char *to_text(JSValueRef value)
{
	JSStringRef string = JSValueToStringCopy(context, value, NULL);
	if (!string)
		return NULL;
	size_t size = JSStringGetMaximumUTF8CStringSize(string);
	char *text = malloc(size);
	if (!text)
		die("out of memory");
	JSStringGetUTF8CString(string, text, size);
	JSStringRelease(string);
	return text;
}

static void write_all(const void *p, size_t n)
{
	const char *at = p;
	while (n > 0) {
		ssize_t done = write(STDOUT_FILENO, at, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			exit(0);
		at += done;
		n -= (size_t)done;
	}
}

static int read_all(void *p, size_t n)
{
	char *at = p;
	while (n > 0) {
		ssize_t done = read(STDIN_FILENO, at, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static void send_frame(const char *text)
{
	size_t n = strlen(text);
	unsigned char head[4] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
				  (unsigned char)n };
	write_all(head, 4);
	write_all(text, n);
}

/* reply(text): the answer of the request in hand; a second call for one request is ignored. */
static JSValueRef reply(JSContextRef ctx, JSObjectRef function, JSObjectRef self, size_t argc, const JSValueRef argv[],
			JSValueRef *exception)
{
	char *text = argc > 0 ? to_text(argv[0]) : NULL;
	if (text && !replied) {
		replied = 1;
		send_frame(text);
	}
	free(text);
	return JSValueMakeUndefined(ctx);
}

/* quernHash(algorithm, text): lower-case hex, or undefined for an unknown algorithm. */
static JSValueRef hash(JSContextRef ctx, JSObjectRef function, JSObjectRef self, size_t argc, const JSValueRef argv[],
		       JSValueRef *exception)
{
	static const char *const names[][2] = { { "MD5", "MD5" },
						{ "SHA-1", "SHA1" },
						{ "SHA-256", "SHA256" },
						{ "SHA-384", "SHA384" },
						{ "SHA-512", "SHA512" } };
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	char *algorithm = argc > 1 ? to_text(argv[0]) : NULL, *text = argc > 1 ? to_text(argv[1]) : NULL;
	for (size_t i = 0; algorithm && text && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(algorithm, names[i][0]) == 0)
			EVP_Digest(text, strlen(text), digest, &size, EVP_get_digestbyname(names[i][1]), NULL);
	free(algorithm);
	free(text);
	if (size == 0)
		return JSValueMakeUndefined(ctx);
	for (unsigned i = 0; i < size; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	JSStringRef string = JSStringCreateWithUTF8CString(hex);
	JSValueRef value = JSValueMakeString(ctx, string);
	JSStringRelease(string);
	return value;
}

static void run_script(char *text, const char *name)
{
	JSStringRef script = JSStringCreateWithUTF8CString(text);
	JSValueRef exception = NULL;
	if (!JSEvaluateScript(context, script, NULL, NULL, 1, &exception)) {
		fprintf(stderr, "quern-jsonata: %s: %s\n", name, exception ? to_text(exception) : "?");
		exit(1);
	}
	JSStringRelease(script);
	free(text);
}

/* Processor time of the thread that evaluates, in milliseconds. */
static JSValueRef cpu_ms(JSContextRef ctx, JSObjectRef function, JSObjectRef self, size_t n,
			 const JSValueRef arguments[], JSValueRef *exception)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return JSValueMakeNumber(ctx, (double)ts.tv_sec * 1000 + (double)ts.tv_nsec / 1e6);
}

static JSObjectRef define(const char *name, JSObjectCallAsFunctionCallback callback)
{
	JSStringRef string = JSStringCreateWithUTF8CString(name);
	JSObjectRef function = JSObjectMakeFunctionWithCallback(context, string, callback);
	JSObjectSetProperty(context, JSContextGetGlobalObject(context), string, function, kJSPropertyAttributeReadOnly,
			    NULL);
	JSStringRelease(string);
	return function;
}

static JSObjectRef global_function(const char *name)
{
	JSStringRef string = JSStringCreateWithUTF8CString(name);
	JSValueRef value = JSObjectGetProperty(context, JSContextGetGlobalObject(context), string, NULL);
	JSStringRelease(string);
	return JSValueToObject(context, value, NULL);
}

/* Ends the process above its memory limit, the heap of the engine having no limit of its own, and with its parent. The
 * parent-death signal would not do: it comes when the parent's thread ends. The file stays open, because opening is
 * forbidden later. */
static void *watch(void *limit_bytes)
{
	int64_t limit = *(int64_t *)limit_bytes;
	pid_t parent = getppid();
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128];
	long pages, resident;
	if (fd < 0)
		die("/proc/self/statm");
	for (;;) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = 0;
		if (limit > 0 && sscanf(text, "%ld %ld", &pages, &resident) == 2 &&
		    (int64_t)resident * sysconf(_SC_PAGESIZE) > limit)
			_exit(3);
		if (getppid() != parent)
			_exit(0);
		usleep(WATCH_US);
	}
	return NULL;
}

/* From here on: no files, network, processes or privileges. Threads and memory go on. */
static void lock_down(void)
{
	static const int refused[] = {
		SCMP_SYS(open),
		SCMP_SYS(openat),
		SCMP_SYS(openat2),
		SCMP_SYS(creat),
		SCMP_SYS(socket),
		SCMP_SYS(connect),
		SCMP_SYS(bind),
		SCMP_SYS(execve),
		SCMP_SYS(execveat),
		SCMP_SYS(fork),
		SCMP_SYS(vfork),
		SCMP_SYS(ptrace),
		SCMP_SYS(unlink),
		SCMP_SYS(unlinkat),
		SCMP_SYS(rename),
		SCMP_SYS(renameat),
		SCMP_SYS(renameat2),
		SCMP_SYS(mkdir),
		SCMP_SYS(mkdirat),
		SCMP_SYS(chmod),
		SCMP_SYS(fchmodat),
		SCMP_SYS(kill),
		SCMP_SYS(mount),
		SCMP_SYS(umount2),
		SCMP_SYS(bpf),
		SCMP_SYS(perf_event_open),
		SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev),
		SCMP_SYS(io_uring_setup),
		SCMP_SYS(userfaultfd),
		SCMP_SYS(link),
		SCMP_SYS(linkat),
		SCMP_SYS(symlink),
	};
	const struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter)
		die("seccomp_init");
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	if (seccomp_load(filter) < 0)
		die("seccomp_load");
	seccomp_release(filter);
}

static void serve(JSObjectRef handle, JSObjectRef reply_function)
{
	unsigned char head[4];
	while (read_all(head, 4) == 0) {
		size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
		if (n > MAX_FRAME)
			die("frame too long");
		char *text = malloc(n + 1);
		if (!text || read_all(text, n) < 0)
			exit(0);
		text[n] = 0;
		JSStringRef string = JSStringCreateWithUTF8CString(text);
		free(text);
		JSValueRef arguments[] = { JSValueMakeString(context, string), reply_function };
		JSStringRelease(string);
		replied = 0;
		/* Promise jobs run before this returns. */
		JSObjectCallAsFunction(context, handle, NULL, 2, arguments, NULL);
		if (!replied)
			send_frame("{\"error\":{\"code\":\"D0000\",\"message\":\"the expression never ended\"}}");
	}
}

int main(int argc, char **argv)
{
	static int64_t limit;
	static const char warm_up[] = "{\"expression\":\"$map([1,2],function($v){$string($v)&$now()})\"}";
	if (argc != 3)
		die("usage: quern-jsonata DIRECTORY MEMORY_BYTES");
	limit = strtoll(argv[2], NULL, 10);
	context = JSGlobalContextCreate(NULL);
	run_script(strdup("var global = this;"), "start"); /* the package looks for Node's name of the global object */
	run_script(read_file(argv[1], "jsonata.js"), "jsonata.js");
	define("quernHash", hash);
	define("quernCpuMs", cpu_ms);
	run_script(read_file(argv[1], "glue.js"), "glue.js");
	JSObjectRef handle = global_function("quernHandle"), reply_function = define("quernReply", reply);
	if (!handle)
		die("glue.js has no quernHandle");
	EVP_get_digestbyname("MD5");
	pthread_t watcher;
	if (pthread_create(&watcher, NULL, watch, &limit) != 0)
		die("pthread_create");
	JSStringRef string = JSStringCreateWithUTF8CString(warm_up);
	JSValueRef arguments[] = { JSValueMakeString(context, string), reply_function };
	replied = 1; /* the warm-up's answer goes nowhere */
	JSObjectCallAsFunction(context, handle, NULL, 2, arguments, NULL);
	JSStringRelease(string);
	lock_down();
	serve(handle, reply_function);
	return 0;
}
