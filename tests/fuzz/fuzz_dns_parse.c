/* DNS answers: the first octet chooses the type, the question is "a.b". */
#include "net/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum dns_type types[] = {DNS_A,   DNS_CNAME, DNS_PTR, DNS_MX,
                                          DNS_TXT, DNS_AAAA,  DNS_TLSA};
    struct dns_answer answer;

    if (n < 1)
        return 0;
    dns_parse(span_make(data + 1, n - 1), "a.b", types[data[0] % COUNT_OF(types)], &answer);
    dns_answer_fini(&answer);
    return 0;
}
