// A C++ program to be taken over: its static objects are there in the worker, and made once.
#include <cstdlib>
#include <string>

#include "takeover_check.h"

namespace {
std::string greeting = std::string("a text that is too long to lie in the string itself, from ") + "a constructor";
int mains;

struct Last {
    Last() { greeting += ", completed by the last one"; }
} last;

const char *task() {
    if (mains > 0) greeting += ", and by main()";
    return greeting.c_str();
}
} // namespace

int main() {
    mains++;
    return takeover_check(task, "a text that is too long to lie in the string itself, from a constructor, completed by "
                                "the last one");
}
