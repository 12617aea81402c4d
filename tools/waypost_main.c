/* waypost_main.c: waypost(1). */
#include "tools/waypost.h"

int main(int argc, char **argv)
{
    return waypost_main(argc, argv, "waypost");
}
