/* There are no users; the shell asks for a home directory and takes HOME. */
struct passwd { char *pw_dir; };
static inline struct passwd *getpwuid(unsigned uid) { return 0; }
