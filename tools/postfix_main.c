/* postfix_main.c: waypost(1) under the name that admins' hands know. */
#include "tools/waypost.h"

int main(int argc, char **argv)
{
    return waypost_main(argc, argv, "postfix");
}
