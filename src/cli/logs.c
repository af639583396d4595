/* logs.c - prints and follows the output of an execution's steps or states, or of an ECS task's containers.
 *
 * DESIGN: the streams are in CloudWatch Logs and are read through the API. Following polls each with its own forward
 * token, so nothing is read twice. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/log_page.h"
#include "cli/log_streams.h"

enum { POLL_US = 500000 };

struct printer {
	struct str before; /* each line */
	struct buf lines;
};

static void add_line(void *ctx, struct str message)
{
	struct printer *p = ctx;
	buf_add_str(&p->lines, p->before);
	buf_add_str(&p->lines, message);
	buf_add_char(&p->lines, '\n');
}

/* Prints a page. The number of its lines, or < 0. */
static int64_t print_page(struct log_source *f, struct log_stream *s, struct printer *p, struct buf *page,
			  struct error *err)
{
	struct str token;
	json_t *in =
		json_pack("{s:s, s:s, s:b}", "logGroupName", s->group, "logStreamName", s->name, "startFromHead", 1);
	json_set_text(in, "nextToken", s->token);
	if (s->start_ms)
		json_object_set_new(in, "startTime", json_integer(s->start_ms));
	if (client_call_text(f->client, "logs", "Logs_20140328.GetLogEvents", in, page, err) < 0)
		return -1;
	buf_clear(&p->lines);
	int64_t n = log_page_read(buf_str(page), add_line, p, &token, err);
	if (n < 0)
		return -1;
	if (token.ptr && !(s->token && str_eqz(token, s->token)))
		s->token = arena_strdup(&f->config->arena, token);
	fwrite(p->lines.ptr, 1, p->lines.len, stdout);
	return n;
}

/* Prints what is new in one stream. */
static int drain(struct log_source *f, struct log_stream *s, struct error *err)
{
	CLEANUP_BUF struct buf page = BUF_INIT;
	struct printer p = { str_from(arena_printf(&f->config->arena,
						   f->config->color ? "\033[36m%s\033[0m | " : "%s | ", s->step)),
			     BUF_INIT };
	int64_t n;
	do
		n = print_page(f, s, &p, &page, err);
	while (n > 0);
	buf_release(&p.lines);
	fflush(stdout);
	return n < 0 ? -1 : 0;
}

static int refuse_step(struct log_source *f, struct error *err)
{
	static const char *const texts[] = {
		[LOG_OF_PIPELINE] = "the execution has no step `%s` that started",
		[LOG_OF_MACHINE] = "the execution has not entered state `%s`",
		[LOG_OF_TASK] = "the task has no container `%s`",
	};
	return error_set(err, texts[f->kind], f->step);
}

static int follow(struct log_source *f, bool keep_on, struct error *err)
{
	for (;;) {
		bool step_found = false;
		int done = log_source_ended(f, err); /* before reading, so that the last lines are not missed */
		if (done < 0 || log_source_streams(f, &step_found, err) < 0)
			return -1;
		if (!step_found && f->step && (done || !keep_on))
			return refuse_step(f, err);
		for (struct log_stream *s = f->streams; s; s = s->next)
			if (drain(f, s, err) < 0)
				return -1;
		if (done)
			return log_source_tell_reason(f, err);
		if (!keep_on)
			return 0;
		usleep(POLL_US);
	}
}

int cli_logs(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct log_source f = { .config = c };
	const char *execution = NULL;
	bool keep_on = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--follow") == 0)
			keep_on = true;
		else if (argv[i][0] == '-' || f.step)
			return usage("logs", argv[i]);
		else if (!execution)
			execution = argv[i];
		else
			f.step = argv[i];
	}
	if (!execution)
		return usage("logs", NULL);
	int rc = 0;
	if (client_new(c, &f.client, &err) < 0)
		rc = fail_error(NULL, &err);
	else if (log_source_find(&f, execution, &err) < 0 || follow(&f, keep_on, &err) < 0)
		rc = fail_error("quern ps -a", &err);
	client_free(f.client);
	return rc;
}
