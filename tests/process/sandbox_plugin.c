/* A library that a task loads in its sandbox. */
int sandbox_plugin(void);
int sandbox_plugin(void) { return 1; }
