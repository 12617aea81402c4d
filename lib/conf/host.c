/* host.c: see host.h. */
#include "conf/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "base/mem.h"
#include "conf/conf.h"

struct address_list {
    ARRAY(struct host_address) a;
};

/* The expanded value, whether conf was evaluated already or not. */
static int value_of(const struct conf *c, const char *name, struct str *out, struct str *why)
{
    return conf_expand(c, span_cstr(conf_raw(c, span_cstr(name))), out, why);
}

/* --- names --- */

int host_name(struct conf *c, struct str *out, struct str *why)
{
    char name[256];
    int error = 0;

    if (gethostname(name, sizeof(name)) < 0)
        return -errno;
    name[sizeof(name) - 1] = '\0';
    str_append_cstr(out, name);
    if (strchr(name, '.') == NULL) {
        str_append_char(out, '.');
        /* Not "$mydomain": its default comes from here. */
        if (conf_is_set(c, "mydomain"))
            error = value_of(c, "mydomain", out, why);
        else
            str_append_cstr(out, "localdomain");
    }
    return error < 0 ? error : str_error(out);
}

int host_domain(struct conf *c, struct str *out, struct str *why)
{
    struct str name = {0};
    int error = value_of(c, "myhostname", &name, why);
    ptrdiff_t dot = span_find(str_span(&name), '.');

    if (error == 0)
        error = dot < 0 ? str_append_cstr(out, "localdomain")
                        : str_append(out, span_drop(str_span(&name), (size_t)dot + 1));
    str_fini(&name);
    return error;
}

int host_process_id(struct conf *c, struct str *out, struct str *why)
{
    return str_append_u64(out, (uint64_t)getpid());
}

int host_process_name(struct conf *c, struct str *out, struct str *why)
{
    return str_append_cstr(out, program_invocation_short_name);
}

/* --- addresses --- */

static bool is_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int add_address(struct address_list *list, const struct sockaddr_storage *address,
                       const struct sockaddr_storage *mask)
{
    struct host_address *item;

    for (size_t i = 0; i < list->a.len; i++)
        if (is_same_address(&list->a.items[i].address, address))
            return 0;
    item = array_push(&list->a);
    if (item == NULL)
        return -ENOMEM;
    *item = (struct host_address){*address, *mask};
    return 0;
}

static bool is_family_on(int family, struct span protocols)
{
    const char *name = family == AF_INET ? "ipv4" : "ipv6";
    struct span word;

    while (span_token(&protocols, ", \t\r\n", &word))
        if (span_ieq(word, SPAN_LIT("all")) || span_ieq(word, span_cstr(name)))
            return true;
    return false;
}

/* Every address of every interface that is up. */
static int kernel_addresses(struct address_list *list, struct span protocols)
{
    struct ifaddrs *first;
    int error = 0;

    if (getifaddrs(&first) < 0)
        return -errno;
    for (struct ifaddrs *i = first; i != NULL && error == 0; i = i->ifa_next) {
        struct sockaddr_storage address = {0}, mask = {0};
        size_t size;

        if (i->ifa_addr == NULL || i->ifa_netmask == NULL || (i->ifa_flags & IFF_UP) == 0)
            continue;
        if (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6)
            continue;
        if (!is_family_on(i->ifa_addr->sa_family, protocols))
            continue;
        size = i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                 : sizeof(struct sockaddr_in6);
        memcpy(&address, i->ifa_addr, size);
        memcpy(&mask, i->ifa_netmask, size);
        error = add_address(list, &address, &mask);
    }
    freeifaddrs(first);
    return error;
}

/* One word of inet_interfaces: an address, [address] or a name. */
static int add_named(struct address_list *list, const struct address_list *all, struct span word,
                     struct span protocols, struct str *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    struct span bare = word;
    char *name;
    int error = 0;

    if (bare.n > 2 && bare.p[0] == '[' && bare.p[bare.n - 1] == ']')
        bare = span_make(bare.p + 1, bare.n - 2);
    name = mem_strdup(bare);
    if (name == NULL)
        return -ENOMEM;
    if (getaddrinfo(name, NULL, &hints, &found) != 0) {
        str_printf(why, "inet_interfaces: host not found: %s", name);
        free(name);
        return ERR_NOT_FOUND;
    }
    free(name);
    for (struct addrinfo *f = found; f != NULL && error == 0; f = f->ai_next) {
        struct sockaddr_storage address = {0};

        if (!is_family_on(f->ai_family, protocols))
            continue;
        memcpy(&address, f->ai_addr, f->ai_addrlen);
        for (size_t i = 0; i < all->a.len && error == 0; i++)
            if (is_same_address(&all->a.items[i].address, &address))
                error = add_address(list, &address, &all->a.items[i].mask);
    }
    freeaddrinfo(found);
    return error;
}

static int select_addresses(struct address_list *list, const struct address_list *all,
                            struct span interfaces, struct span protocols, struct str *why)
{
    struct span word;
    int error = 0;

    while (error == 0 && span_token(&interfaces, ", \t\r\n", &word)) {
        bool is_all = span_eq(word, SPAN_LIT("all"));

        if (!is_all && !span_eq(word, SPAN_LIT("loopback-only"))) {
            error = add_named(list, all, word, protocols, why);
            continue;
        }
        for (size_t i = 0; i < all->a.len && error == 0; i++)
            if (is_all || is_loopback(&all->a.items[i].address))
                error = add_address(list, &all->a.items[i].address, &all->a.items[i].mask);
    }
    return error;
}

int host_addresses(const struct conf *c, struct host_address **list, size_t *count, struct str *why)
{
    struct str interfaces = {0}, protocols = {0};
    struct address_list all = {0}, chosen = {0};
    int error;

    if ((error = value_of(c, "inet_interfaces", &interfaces, why)) == 0 &&
        (error = value_of(c, "inet_protocols", &protocols, why)) == 0 &&
        (error = kernel_addresses(&all, str_span(&protocols))) == 0)
        error = select_addresses(&chosen, &all, str_span(&interfaces), str_span(&protocols), why);
    if (error == 0) {
        *list = chosen.a.items;
        *count = chosen.a.len;
    } else {
        array_free(&chosen.a);
    }
    array_free(&all.a);
    str_fini(&interfaces);
    str_fini(&protocols);
    return error;
}

/* --- networks --- */

/* Leading one bits of a mask. */
static unsigned mask_bits(const unsigned char *mask, size_t size)
{
    unsigned bits = 0;

    while (bits < size * 8 && (mask[bits / 8] & (0x80 >> bits % 8)) != 0)
        bits++;
    return bits;
}

static unsigned class_bits(unsigned char first)
{
    return first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 4;
}

static void append_network(struct str *out, const struct host_address *h, struct span style)
{
    bool is_ipv4 = h->address.ss_family == AF_INET;
    size_t size = is_ipv4 ? 4 : 16;
    const void *address = is_ipv4
                              ? (const void *)&((const struct sockaddr_in *)&h->address)->sin_addr
                              : &((const struct sockaddr_in6 *)&h->address)->sin6_addr;
    const void *mask = is_ipv4 ? (const void *)&((const struct sockaddr_in *)&h->mask)->sin_addr
                               : &((const struct sockaddr_in6 *)&h->mask)->sin6_addr;
    unsigned char net[16];
    char text[INET6_ADDRSTRLEN];
    unsigned bits = (unsigned)size * 8;

    memcpy(net, address, size);
    if (span_ieq(style, SPAN_LIT("class")) && is_ipv4)
        bits = class_bits(net[0]);
    else if (!span_ieq(style, SPAN_LIT("host")))
        bits = mask_bits(mask, size);
    for (unsigned i = bits; i < size * 8; i++)
        net[i / 8] &= (unsigned char)~(0x80 >> i % 8);
    inet_ntop(is_ipv4 ? AF_INET : AF_INET6, net, text, sizeof(text));
    str_printf(out, is_ipv4 ? "%s/%u" : "[%s]/%u", text, bits);
}

static bool has_word(struct span list, struct span word)
{
    struct span have;

    while (span_token(&list, " ", &have))
        if (span_eq(have, word))
            return true;
    return false;
}

int host_networks(struct conf *c, struct str *out, struct str *why)
{
    struct str style = {0};
    struct host_address *list = NULL;
    size_t count = 0;
    int error = value_of(c, "mynetworks_style", &style, why);

    if (error == 0)
        error = host_addresses(c, &list, &count, why);
    for (size_t i = 0; error == 0 && i < count; i++) {
        struct str network = {0};

        append_network(&network, &list[i], str_span(&style));
        if (!has_word(str_span(out), str_span(&network))) {
            if (out->len > 0)
                str_append_char(out, ' ');
            str_append(out, str_span(&network));
        }
        str_fini(&network);
    }
    free(list);
    str_fini(&style);
    return error;
}
