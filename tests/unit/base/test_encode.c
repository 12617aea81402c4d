/* crc32c against RFC 3720 B.4, base64 against RFC 4648 10, hexadecimal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/mem.h"

static void test_crc32c_vectors(void **state)
{
    unsigned char up[32], down[32], zero[32] = {0}, ones[32];

    memset(ones, 0xff, sizeof(ones));
    for (int i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    assert_int_equal(crc32c(0, zero, 32), 0x8a9136aaU);
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43U);
    assert_int_equal(crc32c(0, up, 32), 0x46dd794eU);
    assert_int_equal(crc32c(0, down, 32), 0x113fdb5cU);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(crc32c(crc32c(0, up, cut), up + cut, 32 - cut), 0x46dd794eU);
}

static void test_base64(void **state)
{
    static const struct {
        const char *plain, *coded;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Zg",   "Zg=",   "Zh==",  "Zm9=",     "Z===",  "====",
                                      "Zg=a", "Zm9v ", "Zm\n9", "Zg==Zg==", "Zm9v=", "Zm-_"};
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        str_clear(&out);
        assert_int_equal(base64_encode(&out, span_cstr(rows[i].plain)), 0);
        assert_string_equal(str_cstr(&out), rows[i].coded);
        str_clear(&out);
        assert_int_equal(base64_decode(&out, span_cstr(rows[i].coded)), 0);
        assert_string_equal(str_cstr(&out), rows[i].plain);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        str_clear(&out);
        assert_int_equal(base64_decode(&out, span_cstr(bad[i])), ERR_SYNTAX);
    }
    str_fini(&out);
}

static void test_hex(void **state)
{
    struct str out = {0};

    assert_int_equal(hex_encode(&out, span_make("\x00\xff\x1a", 3)), 0);
    assert_string_equal(str_cstr(&out), "00ff1a");
    str_clear(&out);
    assert_int_equal(hex_decode(&out, SPAN_LIT("00Ff1A")), 0);
    assert_true(span_eq(str_span(&out), span_make("\x00\xff\x1a", 3)));
    assert_int_equal(hex_decode(&out, SPAN_LIT("0")), ERR_SYNTAX);
    assert_int_equal(hex_decode(&out, SPAN_LIT("0g")), ERR_SYNTAX);
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_vectors),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_hex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
