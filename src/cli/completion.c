/* completion.c - shell completion from the table of commands. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static void names(void)
{
	for (const struct command *c = commands; c->name; c++)
		if (!c->hidden)
			printf("%s ", c->name);
}

/* Text inside single quotes, for zsh and fish. */
static void quoted(const char *text)
{
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
}

int cli_completion(struct config *config, int argc, char **argv)
{
	if (argc != 2)
		return usage("completion");
	if (strcmp(argv[1], "bash") == 0) {
		printf("_quern() { [ \"$COMP_CWORD\" -eq 1 ] && COMPREPLY=($(compgen -W \"");
		names();
		printf("\" -- \"${COMP_WORDS[1]}\")) && return; case ${COMP_WORDS[1]}:$COMP_CWORD in exec:2 | debug:2) "
		       "COMPREPLY=($(compgen -W \"$(quern ${COMP_WORDS[1]} --names 2>/dev/null)\" -- "
		       "\"${COMP_WORDS[2]}\"));; *) COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"));; esac; "
		       "}\ncomplete -F _quern quern\n");
	} else if (strcmp(argv[1], "zsh") == 0) {
		printf("#compdef quern\n_quern() { local -a c; c=(");
		for (const struct command *c = commands; c->name; c++)
			if (!c->hidden) {
				printf("'%s:", c->name);
				quoted(c->summary);
				printf("' ");
			}
		printf("); if (( CURRENT == 2 )); then _describe command c; elif (( CURRENT == 3 )) && [[ $words[2] == "
		       "(exec|debug) ]]; then compadd -- ${(f)\"$(quern $words[2] --names 2>/dev/null)\"}; else "
		       "_files; fi; "
		       "}\ncompdef _quern quern\n");
	} else if (strcmp(argv[1], "fish") == 0) {
		for (const struct command *c = commands; c->name; c++)
			if (!c->hidden) {
				printf("complete -c quern -n __fish_use_subcommand -a %s -d '", c->name);
				quoted(c->summary);
				printf("'\n");
			}
		for (int i = 0; i < 2; i++)
			printf("complete -c quern -n '__fish_seen_subcommand_from %s' -f -a '(quern %s --names "
			       "2>/dev/null)'\n",
			       i ? "debug" : "exec", i ? "debug" : "exec");
	} else {
		return usage("completion");
	}
	return 0;
}
