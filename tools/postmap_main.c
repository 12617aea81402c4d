/* postmap_main.c: postmap(1). */
#include "tools/table.h"

int main(int argc, char **argv)
{
    return table_main(argc, argv, MAP_SOURCE_TABLE);
}
