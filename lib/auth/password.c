#include "auth/password.h"

#include <argon2.h>
#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/random.h"

enum {
    SCRAM_ITERATIONS = 4096, /* RFC 7677 4 asks for at least that */
    SCRAM_ITERATIONS_MAX = 10000000,
    SCRAM_SALT_OCTETS = 16,
    SHA256_OCTETS = 32,
    ARGON2_PASSES = 3,
    ARGON2_MEMORY_KIB = 32768,
    ARGON2_OCTETS = 32,
    PASSWORD_MAX = 1024,
};

void password_split(struct span stored, struct span *scheme, struct span *data)
{
    ptrdiff_t close = stored.n > 0 && stored.p[0] == '{' ? span_find(stored, '}') : -1;

    if (close < 0) {
        *scheme = SPAN_LIT("CRYPT");
        *data = stored;
        return;
    }
    *scheme = span_drop(span_take(stored, (size_t)close), 1);
    *data = span_drop(stored, (size_t)close + 1);
}

static bool is_equal_secret(struct span a, struct span b)
{
    return a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0;
}

static int verify_plain(struct span data, struct span password)
{
    return is_equal_secret(data, password) ? 0 : ERR_DENIED;
}

/* A C string of a secret; the caller wipes and frees it. A NUL inside cannot be
 * part of a crypt(3) or Argon2 password. */
static int copy_secret(struct span text, char **copy)
{
    if (text.n > PASSWORD_MAX || span_find(text, '\0') >= 0)
        return ERR_DENIED;
    *copy = mem_strdup(text);
    return *copy != NULL ? 0 : -ENOMEM;
}

static void free_secret(char *copy)
{
    if (copy != NULL)
        explicit_bzero(copy, strlen(copy));
    free(copy);
}

static int verify_crypt(struct span data, struct span password)
{
    char *secret = NULL, *setting = mem_strdup(data);
    struct crypt_data *work = NEW(struct crypt_data);
    const char *hash;
    int rc = setting != NULL && work != NULL ? copy_secret(password, &secret) : -ENOMEM;

    if (rc == 0) {
        hash = crypt_r(secret, setting, work);
        if (hash == NULL || hash[0] == '*')
            rc = ERR_SYNTAX;
        else
            rc = is_equal_secret(span_cstr(hash), data) ? 0 : ERR_DENIED;
    }
    if (work != NULL)
        explicit_bzero(work, sizeof(*work));
    free(work);
    free_secret(secret);
    free(setting);
    return rc;
}

static int verify_argon2(struct span data, struct span password)
{
    char *encoded = mem_strdup(data);
    argon2_type type = span_starts(data, SPAN_LIT("$argon2id$")) ? Argon2_id : Argon2_i;
    int rc = ERR_DENIED;

    if (encoded == NULL)
        return -ENOMEM;
    if (password.n <= PASSWORD_MAX) {
        int verdict = argon2_verify(encoded, password.p, password.n, type);
        if (verdict == ARGON2_OK)
            rc = 0;
        else if (verdict == ARGON2_MEMORY_ALLOCATION_ERROR)
            rc = -ENOMEM;
        else if (verdict != ARGON2_VERIFY_MISMATCH)
            rc = ERR_SYNTAX;
    }
    free(encoded);
    return rc;
}

int password_parse_scram(struct span data, struct password_scram *scram)
{
    struct span iterations, rest = data;

    if (!span_next(&rest, ',', &iterations) || !span_next(&rest, ',', &scram->salt) ||
        !span_next(&rest, ',', &scram->stored_key) || !span_next(&rest, ',', &scram->server_key) ||
        rest.p != NULL || span_to_u32(iterations, &scram->iterations) < 0)
        return ERR_SYNTAX;
    if (scram->iterations == 0 || scram->iterations > SCRAM_ITERATIONS_MAX)
        return ERR_SYNTAX;
    return 0;
}

struct scram_keys {
    unsigned char stored[SHA256_OCTETS], server[SHA256_OCTETS];
};

/* RFC 5802 3: SaltedPassword, ClientKey, StoredKey, ServerKey. */
static int derive_scram(struct span password, struct span salt, uint32_t iterations,
                        struct scram_keys *keys)
{
    unsigned char salted[SHA256_OCTETS], client[SHA256_OCTETS];
    unsigned n = SHA256_OCTETS;
    size_t size = SHA256_OCTETS;
    bool ok =
        PKCS5_PBKDF2_HMAC(password.p, (int)password.n, (const unsigned char *)salt.p, (int)salt.n,
                          (int)iterations, EVP_sha256(), SHA256_OCTETS, salted) == 1 &&
        HMAC(EVP_sha256(), salted, SHA256_OCTETS, (const unsigned char *)"Client Key", 10, client,
             &n) != NULL &&
        EVP_Q_digest(NULL, "SHA256", NULL, client, SHA256_OCTETS, keys->stored, &size) == 1 &&
        HMAC(EVP_sha256(), salted, SHA256_OCTETS, (const unsigned char *)"Server Key", 10,
             keys->server, &n) != NULL;

    explicit_bzero(salted, sizeof(salted));
    explicit_bzero(client, sizeof(client));
    return ok ? 0 : -ENOMEM;
}

static int verify_scram(struct span data, struct span password)
{
    struct password_scram scram;
    struct scram_keys keys;
    struct str salt = {0}, stored = {0};
    int rc = password_parse_scram(data, &scram);

    if (rc == 0 && password.n > PASSWORD_MAX)
        rc = ERR_DENIED;
    if (rc == 0)
        rc = base64_decode(&salt, scram.salt);
    if (rc == 0)
        rc = base64_decode(&stored, scram.stored_key);
    if (rc == 0)
        rc = derive_scram(password, str_span(&salt), scram.iterations, &keys);
    if (rc == 0 && !is_equal_secret(str_span(&stored), span_make(keys.stored, SHA256_OCTETS)))
        rc = ERR_DENIED;
    explicit_bzero(&keys, sizeof(keys));
    str_fini(&salt);
    str_fini(&stored);
    return rc;
}

static int make_plain(struct str *out, struct span password)
{
    return str_append(out, password);
}

static int make_crypt(struct str *out, const char *prefix, struct span password)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    char *secret = NULL;
    struct crypt_data *work = NEW(struct crypt_data);
    const char *hash;
    int rc = work != NULL ? copy_secret(password, &secret) : -ENOMEM;

    if (rc == 0) {
        hash = crypt_gensalt_rn(prefix, 0, NULL, 0, setting, sizeof(setting)) != NULL
                   ? crypt_r(secret, setting, work)
                   : NULL;
        rc = hash != NULL && hash[0] != '*' ? str_append_cstr(out, hash) : ERR_NOT_SUPPORTED;
    }
    if (work != NULL)
        explicit_bzero(work, sizeof(*work));
    free(work);
    free_secret(secret);
    return rc;
}

static int make_sha512_crypt(struct str *out, struct span password)
{
    return make_crypt(out, "$6$", password);
}

static int make_sha256_crypt(struct str *out, struct span password)
{
    return make_crypt(out, "$5$", password);
}

static int make_blf_crypt(struct str *out, struct span password)
{
    return make_crypt(out, "$2y$", password);
}

static int make_scram(struct str *out, struct span password)
{
    unsigned char salt[SCRAM_SALT_OCTETS];
    struct scram_keys keys;
    int rc;

    random_bytes(salt, sizeof(salt));
    rc = derive_scram(password, span_make(salt, sizeof(salt)), SCRAM_ITERATIONS, &keys);
    if (rc < 0)
        return rc;
    str_printf(out, "%d,", SCRAM_ITERATIONS);
    base64_encode(out, span_make(salt, sizeof(salt)));
    str_append_char(out, ',');
    base64_encode(out, span_make(keys.stored, SHA256_OCTETS));
    str_append_char(out, ',');
    base64_encode(out, span_make(keys.server, SHA256_OCTETS));
    explicit_bzero(&keys, sizeof(keys));
    return str_error(out);
}

static int make_argon2id(struct str *out, struct span password)
{
    unsigned char salt[SCRAM_SALT_OCTETS];
    char encoded[256];

    random_bytes(salt, sizeof(salt));
    if (argon2id_hash_encoded(ARGON2_PASSES, ARGON2_MEMORY_KIB, 1, password.p, password.n, salt,
                              sizeof(salt), ARGON2_OCTETS, encoded, sizeof(encoded)) != ARGON2_OK)
        return -ENOMEM;
    return str_append_cstr(out, encoded);
}

struct scheme {
    const char *name;
    int (*verify)(struct span data, struct span password);
    int (*make)(struct str *out, struct span password);
};

static const struct scheme schemes[] = {
    {"PLAIN", verify_plain, make_plain},
    {"CLEARTEXT", verify_plain, make_plain},
    {"CRYPT", verify_crypt, make_sha512_crypt},
    {"SHA512-CRYPT", verify_crypt, make_sha512_crypt},
    {"SHA256-CRYPT", verify_crypt, make_sha256_crypt},
    {"BLF-CRYPT", verify_crypt, make_blf_crypt},
    {"MD5-CRYPT", verify_crypt, NULL},
    {"SCRAM-SHA-256", verify_scram, make_scram},
    {"ARGON2ID", verify_argon2, make_argon2id},
    {"ARGON2I", verify_argon2, NULL},
};

static const struct scheme *find_scheme(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        if (span_ieq(name, span_cstr(schemes[i].name)))
            return &schemes[i];
    }
    return NULL;
}

bool password_scheme_is_known(struct span scheme)
{
    return find_scheme(scheme) != NULL;
}

int password_verify(struct span stored, struct span password)
{
    struct span name, data;
    const struct scheme *scheme;

    password_split(stored, &name, &data);
    scheme = find_scheme(name);
    return scheme != NULL ? scheme->verify(data, password) : ERR_NOT_SUPPORTED;
}

int password_make(struct str *out, struct span name, struct span password)
{
    const struct scheme *scheme = find_scheme(name);

    if (scheme == NULL || scheme->make == NULL)
        return ERR_NOT_SUPPORTED;
    if (password.n > PASSWORD_MAX || span_find(password, '\0') >= 0)
        return ERR_TOO_LONG;
    str_printf(out, "{%s}", scheme->name);
    return scheme->make(out, password);
}
