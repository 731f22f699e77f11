// libedit takes most of its settings through functions with variable arguments, which Swift cannot call.
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static inline char *cedit_prompt(EditLine *editor) {
    (void)editor;
    return "> ";
}

// Text is UTF-8 whatever the environment says, else every other character than ASCII is lost.
static inline void cedit_use_utf8(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

// An editor on the terminal of stdin that writes to stderr, with the person's own .editrc; NULL without memory.
static inline EditLine *cedit_open(const char *program, unsigned char (*complete)(EditLine *, int)) {
    cedit_use_utf8();
    EditLine *editor = el_init(program, stdin, stderr, stderr);
    if (!editor) return NULL;
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_PROMPT, cedit_prompt);
    el_set(editor, EL_ADDFN, "complete-path", "Complete a command or path", complete);
    el_source(editor, NULL);
    el_set(editor, EL_BIND, "^I", "complete-path", NULL);
    return editor;
}

// Lines that can be had again with the arrow keys, in memory only.
static inline History *cedit_history(EditLine *editor) {
    History *lines = history_init();
    if (!lines) return NULL;
    HistEvent event;
    history(lines, &event, H_SETSIZE, 500);
    history(lines, &event, H_SETUNIQUE, 1);
    el_set(editor, EL_HIST, history, lines);
    return lines;
}

static inline void cedit_remember(History *lines, const char *line) {
    HistEvent event;
    if (lines) history(lines, &event, H_ENTER, line);
}
