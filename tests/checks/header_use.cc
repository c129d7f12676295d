// The same program as C++: one-line calls where the language has designated initialisers, structs before.
#include "header_use.c"
