/* postalias_main.c: postalias(1). */
#include "tools/table.h"

int main(int argc, char **argv)
{
    return table_main(argc, argv, MAP_SOURCE_ALIAS);
}
