/* OpenSSL's list for one of the words of smtpd_tls_ciphers and its like. */
#include "base/mem.h"
#include "conf/conf.h"

const char *conf_cipher_list(const struct conf *c, const char *parameter)
{
    static const struct {
        const char *grade, *parameter;
    } lists[] = {
        {"high", "tls_high_cipherlist"}, {"medium", "tls_medium_cipherlist"},
        {"low", "tls_low_cipherlist"},   {"export", "tls_export_cipherlist"},
        {"null", "tls_null_cipherlist"},
    };
    struct span grade = span_cstr(conf_string(c, parameter));

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (span_ieq(grade, span_cstr(lists[i].grade)))
            return conf_string(c, lists[i].parameter);
    }
    return conf_string(c, "tls_medium_cipherlist"); /* the default grade */
}
