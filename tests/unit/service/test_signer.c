/* Which connections to tlsproxy signatures go over, with a tlsproxy of this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/fd.h"
#include "ipc/message.h"
#include "net/tlsproxy.h"
#include "service/signer.h"

enum { CONNECTIONS_MAX = 16, PACKET_MAX = 4096 };

static struct {
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t changed;
    int connections[CONNECTIONS_MAX];
    size_t count;   /* of those that hold keys */
    size_t refused; /* of those that must not */
    size_t waiting; /* signatures asked for, and answered when as many as ... */
    size_t together;
    bool has_other_keys, refuses;
} proxy = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .together = 1};

static char directory[] = "/tmp/test-signer-XXXXXX";
static EVP_PKEY *key; /* its public half is known only */

/* --- the tlsproxy --- */

static void answer_hold(struct ipc_out *reply, int fd)
{
    pthread_mutex_lock(&proxy.lock);
    if (proxy.has_other_keys)
        proxy.refused++;
    else
        proxy.connections[proxy.count++] = fd;
    ipc_put_bool(reply, "ok", !proxy.has_other_keys);
    pthread_mutex_unlock(&proxy.lock);
}

static void answer_sign(struct ipc_out *reply)
{
    pthread_mutex_lock(&proxy.lock);
    proxy.waiting++;
    pthread_cond_broadcast(&proxy.changed);
    while (proxy.waiting < proxy.together)
        pthread_cond_wait(&proxy.changed, &proxy.lock);
    pthread_mutex_unlock(&proxy.lock);
    if (proxy.refuses)
        ipc_put(reply, "reason", SPAN_LIT("not me"));
    else
        ipc_put(reply, "signature", SPAN_LIT("signed"));
}

static bool answer(int fd, struct span packet)
{
    struct ipc_frame frame;
    struct ipc_out reply = {0};
    struct str out = {0};
    struct ipc_in *m;
    bool ok;

    assert_true(ipc_decode(packet, &frame) >= 0);
    m = ipc_in_new(&frame, NULL);
    if (ipc_is(m, "hello")) {
        ipc_begin(&reply, "hello");
        ipc_put(&reply, "protocol", span_cstr(TLSPROXY_PROTOCOL));
        ipc_put_u64(&reply, "version", TLSPROXY_PROTOCOL_VERSION);
    } else {
        ipc_begin_reply(&reply, m);
        if (ipc_is(m, "hold"))
            answer_hold(&reply, fd);
        else
            answer_sign(&reply);
    }
    assert_int_equal(ipc_encode(&out, &reply), 0);
    ok = send(fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
    ipc_out_fini(&reply);
    ipc_in_free(m);
    str_fini(&out);
    return ok;
}

static void *serve_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char packet[PACKET_MAX];
    ssize_t n;

    do
        n = recv(fd, packet, sizeof(packet), 0);
    while (n > 0 && answer(fd, span_make(packet, (size_t)n)));
    shutdown(fd, SHUT_RDWR); /* the number stays taken: kill_connections() knows it */
    return NULL;
}

static void *serve(void *arg)
{
    int listener = (int)(intptr_t)arg, fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static void kill_connections(void)
{
    pthread_mutex_lock(&proxy.lock);
    for (size_t i = 0; i < proxy.count; i++)
        shutdown(proxy.connections[i], SHUT_RDWR);
    pthread_mutex_unlock(&proxy.lock);
}

/* --- smtpd's workers --- */

static bool get_signature(void)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char signature[256];
    size_t n = sizeof(signature);
    bool is_signed;

    assert_int_equal(EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, key, NULL), 1);
    is_signed = EVP_DigestSign(md, signature, &n, (const unsigned char *)"text", 4) == 1;
    EVP_MD_CTX_free(md);
    if (is_signed) {
        assert_int_equal(n, 6);
        assert_memory_equal(signature, "signed", 6);
    }
    return is_signed;
}

static void *sign(void *arg)
{
    assert_true(get_signature());
    return NULL;
}

static void set_together(size_t n)
{
    pthread_mutex_lock(&proxy.lock);
    proxy.waiting = 0;
    proxy.together = n;
    pthread_mutex_unlock(&proxy.lock);
}

static void sign_at_once(size_t n)
{
    pthread_t threads[4];

    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign, NULL), 0);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void connections_are_kept_and_as_many_as_needed(void **state)
{
    for (int i = 0; i < 5; i++)
        sign(NULL);
    assert_int_equal(proxy.count, 1);
    set_together(3); /* none of the three is answered before all have asked */
    sign_at_once(3);
    assert_int_equal(proxy.count, 3);
    set_together(1);
    for (int i = 0; i < 5; i++)
        sign(NULL);
    sign_at_once(3);
    assert_int_equal(proxy.count, 3);
}

static void a_tlsproxy_that_ended_is_replaced(void **state)
{
    kill_connections();
    proxy.count = 0;
    sign(NULL);
    assert_int_equal(proxy.count, 1);
}

/* It was said once and for all, by who has the keys. */
static void a_refusal_costs_no_connection(void **state)
{
    set_together(1);
    proxy.refuses = true;
    assert_false(get_signature());
    assert_int_equal(proxy.waiting, 1);
    proxy.refuses = false;
    sign(NULL);
    assert_int_equal(proxy.count, 1);
}

/* As after a change of the certificate: the one connection to the old tlsproxy is shared. */
static void keys_that_are_gone_are_used_where_they_are_held(void **state)
{
    proxy.has_other_keys = true;
    sign_at_once(4);
    sign_at_once(4);
    assert_int_equal(proxy.count, 1);
}

static int set_up(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = TLSPROXY_SOCKET};
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    pthread_t thread;

    assert_non_null(mkdtemp(directory));
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, (void *)(intptr_t)listener), 0);
    pthread_detach(thread);
    assert_int_equal(service_signer_start(), 0);
    X509_set_pubkey(certificate, pair);
    key = tls_signer_key(certificate);
    assert_non_null(key);
    X509_free(certificate);
    EVP_PKEY_free(pair);
    return 0;
}

static int tear_down(void **state)
{
    EVP_PKEY_free(key);
    unlink(TLSPROXY_SOCKET);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_kept_and_as_many_as_needed),
        cmocka_unit_test(a_tlsproxy_that_ended_is_replaced),
        cmocka_unit_test(a_refusal_costs_no_connection),
        cmocka_unit_test(keys_that_are_gone_are_used_where_they_are_held),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
