/* completion.c - shell completion from the table of commands.
 *
 * DESIGN: a command's options are those that its usage line shows, so that they cannot go out of step. Words that only
 * a running Quern knows (tasks, executions) are asked from it when they are wanted. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/commands.h"

/* What may stand behind a command, options aside. Elsewhere: files. */
static const struct words {
	const char *command, *words; /* fixed */
	const char *ask;             /* the quern command that prints them, one a line */
} arguments[] = {
	{ "images", "list build prune", NULL }, { "completion", "bash zsh fish", NULL },
	{ "exec", NULL, "exec --names" },       { "debug", NULL, "debug --names" },
	{ "logs", NULL, "ps --names" },         { 0 },
};

static const struct words *words_of(const char *command)
{
	for (const struct words *w = arguments; w->command; w++)
		if (strcmp(w->command, command) == 0)
			return w;
	return NULL;
}

/* Calls fn for each option of a command's usage line, once. */
static void each_option(const struct command *c, void (*fn)(const char *command, struct str option))
{
	for (const char *p = c->usage; (p = strchr(p, '-')); p++) {
		if (p > c->usage && p[-1] != '[' && p[-1] != ' ')
			continue;
		size_t n = strspn(p, "-abcdefghijklmnopqrstuvwxyz");
		struct str option = str_of(p, n), before = str_of(c->usage, (size_t)(p - c->usage));
		if (n > 1 && !str_eqz(option, "--") && str_find(before, option) < 0)
			fn(c->name, option);
		p += n - 1;
	}
}

static void put_option(const char *command, struct str option)
{
	printf("%.*s ", STR_ARG(option));
}

/* Text inside single quotes, for zsh and fish. */
static void put_names(void)
{
	for (const struct command *c = commands; c->name; c++)
		if (!c->hidden)
			printf("%s ", c->name);
}

/* "name) opts="..." given="..." ;;" for each command: the same text for bash and zsh. */
static void put_cases(void)
{
	fputs("\thelp) given=\"", stdout);
	put_names();
	puts("\" ;;");
	for (const struct command *c = commands; c->name; c++) {
		const struct words *w = words_of(c->name);
		if (c->hidden)
			continue;
		printf("\t%s) opts=\"", c->name);
		each_option(c, put_option);
		fputs("--help\"", stdout);
		if (w && w->words)
			printf(" given=\"%s\"", w->words);
		if (w && w->ask)
			printf(" given=$(quern %s 2>/dev/null)", w->ask);
		puts(" ;;");
	}
	puts("\tesac");
}

/* Without an answer of ours bash completes files. */
static void put_bash(void)
{
	fputs("_quern() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} opts= given=\n"
	      "\tif [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"",
	      stdout);
	put_names();
	puts("help --data --help --version\" -- \"$cur\")); return; fi\n"
	     "\tcase ${COMP_WORDS[1]} in");
	put_cases();
	puts("\tif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\"))\n"
	     "\telif [ \"$COMP_CWORD\" -eq 2 ]; then COMPREPLY=($(compgen -W \"$given\" -- \"$cur\"))\n"
	     "\telse COMPREPLY=(); fi\n"
	     "}\n"
	     "complete -o bashdefault -o default -F _quern quern");
}

static void put_zsh(void)
{
	puts("#compdef quern\n"
	     "_quern() {\n"
	     "\tlocal -a all\n"
	     "\tlocal opts= given=\n"
	     "\tall=(");
	for (const struct command *c = commands; c->name; c++)
		if (!c->hidden) {
			printf("\t\t%s:", c->name);
			print_quoted(c->summary);
			putchar('\n');
		}
	puts("\t)\n"
	     "\tif (( CURRENT == 2 )); then _describe command all; return; fi\n"
	     "\tcase $words[2] in");
	put_cases();
	puts("\tif [[ $words[CURRENT] == -* ]]; then compadd -- ${=opts}\n"
	     "\telif (( CURRENT == 3 )) && [[ -n $given ]]; then compadd -- ${=given}\n"
	     "\telse _files; fi\n"
	     "}\n"
	     "compdef _quern quern");
}

static void put_fish_option(const char *command, struct str option)
{
	bool is_long = option.len > 2;
	printf("complete -c quern -n '__fish_seen_subcommand_from %s' -%c %.*s\n", command, is_long ? 'l' : 's',
	       STR_ARG(str_skip(option, is_long ? 2 : 1)));
}

static void put_fish(void)
{
	for (const struct command *c = commands; c->name; c++) {
		const struct words *w = words_of(c->name);
		if (c->hidden)
			continue;
		printf("complete -c quern -n __fish_use_subcommand -f -a %s -d ", c->name);
		print_quoted(c->summary);
		putchar('\n');
		each_option(c, put_fish_option);
		if (w && w->words)
			printf("complete -c quern -n '__fish_seen_subcommand_from %s' -f -a '%s'\n", c->name, w->words);
		if (w && w->ask)
			printf("complete -c quern -n '__fish_seen_subcommand_from %s' -f -a '(quern %s 2>/dev/null)'\n",
			       c->name, w->ask);
	}
}

int cli_completion(struct config *config, int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*put)(void);
	} shells[] = { { "bash", put_bash }, { "zsh", put_zsh }, { "fish", put_fish } };
	for (size_t i = 0; argc == 2 && i < sizeof(shells) / sizeof(*shells); i++)
		if (strcmp(argv[1], shells[i].name) == 0)
			return shells[i].put(), 0;
	return usage("completion", argc > 1 ? argv[1] : NULL);
}
