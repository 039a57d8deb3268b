/* The retainit plugin ABI for C. docs/abi.md is its specification.
 *
 * Made from plugin-api/src/abi; `RETAINIT_BLESS=1 cargo test -p retainit-plugin-api --test header`
 * writes it anew. */
#ifndef RETAINIT_PLUGIN_H
#define RETAINIT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define RETAINIT_STATIC_ASSERT(condition, message) static_assert(condition, message)
extern "C" {
#else
#define RETAINIT_STATIC_ASSERT(condition, message) _Static_assert(condition, message)
#endif

/* Makes a symbol visible to the host. */
#if defined(_WIN32)
#define RETAINIT_EXPORT __declspec(dllexport)
#else
#define RETAINIT_EXPORT __attribute__((visibility("default")))
#endif

/* The manifest, a JSON object as a string literal, in the section from which the host reads it
 * without running any code. Once in a library:
 *
 *     RETAINIT_MANIFEST("{\"abi\": [1, 0], \"name\": \"mine\", ...}"); */
#if defined(_MSC_VER)
#pragma section(".retain", read)
#define RETAINIT_SECTION __declspec(allocate(".retain"))
#elif defined(_WIN32)
#define RETAINIT_SECTION __attribute__((used, section(".retain")))
#elif defined(__APPLE__)
#define RETAINIT_SECTION __attribute__((used, section("__DATA,__retainit")))
#elif defined(__has_attribute)
#if __has_attribute(retain)
#define RETAINIT_SECTION __attribute__((used, retain, section(".retainit")))
#else
#define RETAINIT_SECTION __attribute__((used, section(".retainit")))
#endif
#else
#define RETAINIT_SECTION __attribute__((used, section(".retainit")))
#endif
#define RETAINIT_MANIFEST(json) \
    RETAINIT_SECTION static const char retainit_manifest[] = "RETAINIT-PLUGIN\n" json

/* The prelude of a table or root of the given type. */
#define RETAINIT_PRELUDE(type, capabilities) \
    {(uint32_t)sizeof(type), RETAINIT_ABI_MAJOR, RETAINIT_ABI_MINOR, (capabilities)}

/* The four kinds of component, as numbered in manifests and roots. */

/* Keeps entries. */
#define RETAINIT_KIND_BACKEND 1u
/* Turns data into bytes and back. */
#define RETAINIT_KIND_SERIALIZER 2u
/* Makes bytes smaller and back. */
#define RETAINIT_KIND_COMPRESSOR 3u
/* Takes events. */
#define RETAINIT_KIND_SINK 4u

/* Major version of the ABI: host and plugin must agree on it. */
#define RETAINIT_ABI_MAJOR 1
/* Minor version: grows when functions are added at the end of tables. */
#define RETAINIT_ABI_MINOR 1

/* The frozen head of every table, read before anything else of it. */
typedef struct retainit_prelude {
    /* Bytes of the whole table that its author compiled; fields beyond it do not exist. */
    uint32_t struct_size;
    /* `ABI_MAJOR` of its author. */
    uint16_t abi_major;
    /* `ABI_MINOR` of its author. */
    uint16_t abi_minor;
    /* Bits of `capability` (component tables) or zero. */
    uint64_t capabilities;
} retainit_prelude;

/* Done; the result is written and no completion will ever come. */
#define RETAINIT_STATUS_OK 0
/* Exactly one completion follows, from any thread, possibly before the call returns. */
#define RETAINIT_STATUS_PENDING 1
/* Done; there is no such entry. */
#define RETAINIT_STATUS_NOT_FOUND 2
/* Done; the condition did not hold (add of a present key, compare-and-set of another token,
 * lease held by somebody else), and nothing was changed. */
#define RETAINIT_STATUS_CONFLICT 3
/* Too much work is in flight; try again later. */
#define RETAINIT_STATUS_BUSY (-1)
/* A passing failure; trying again may succeed. */
#define RETAINIT_STATUS_RETRYABLE (-2)
/* The deadline passed. */
#define RETAINIT_STATUS_TIMEOUT (-3)
/* Options are wrong; trying again will not help. */
#define RETAINIT_STATUS_CONFIGURATION (-4)
/* The component does not have this operation. */
#define RETAINIT_STATUS_UNSUPPORTED (-5)
/* Stored data could not be understood. */
#define RETAINIT_STATUS_CORRUPT (-6)
/* The plugin panicked inside this call; the panic was contained. */
#define RETAINIT_STATUS_PANIC (-7)
/* The instance is beyond use. */
#define RETAINIT_STATUS_FATAL (-8)
/* The operation was cancelled. */
#define RETAINIT_STATUS_CANCELLED (-9)
/* An argument breaks the contract. */
#define RETAINIT_STATUS_INVALID (-10)

/* Backend: never blocks, the host calls it on the event loop's own thread. */
#define RETAINIT_CAP_INLINE (UINT64_C(1) << 0)
/* Backend: may block; the host offloads calls made for asyncio. */
#define RETAINIT_CAP_BLOCKING (UINT64_C(1) << 1)
/* Backend: answers `PENDING` to calls that carry an operation id. */
#define RETAINIT_CAP_ASYNC (UINT64_C(1) << 2)
/* Backend: keeps opaque object handles, not only bytes. */
#define RETAINIT_CAP_OBJECTS (UINT64_C(1) << 3)
/* Backend: other processes or hosts see its entries. */
#define RETAINIT_CAP_SHARED (UINT64_C(1) << 4)
/* Backend: entries outlive the process. */
#define RETAINIT_CAP_PERSISTENT (UINT64_C(1) << 5)
/* Backend: honours a time to live by itself (`ttl`, `touch` work). */
#define RETAINIT_CAP_TTL (UINT64_C(1) << 6)
/* Backend: `add` and `compare_and_set`, and tokens in items. */
#define RETAINIT_CAP_CAS (UINT64_C(1) << 7)
/* Backend: `increment`. */
#define RETAINIT_CAP_COUNTER (UINT64_C(1) << 8)
/* Backend: `scan` and `count`. */
#define RETAINIT_CAP_SCAN (UINT64_C(1) << 9)
/* Backend: leases. */
#define RETAINIT_CAP_LEASE (UINT64_C(1) << 10)
/* Backend: delivers invalidations made elsewhere. */
#define RETAINIT_CAP_SUBSCRIBE (UINT64_C(1) << 11)
/* Backend: the operations of fork. */
#define RETAINIT_CAP_FORK (UINT64_C(1) << 12)
/* Backend: bounds itself and reports evictions. */
#define RETAINIT_CAP_EVICTS (UINT64_C(1) << 13)
/* Backend: the bytes of a value that `get` or `get_many` gives belong to that one reference alone:
 * whoever holds it may write to them, and nobody else ever sees it. */
#define RETAINIT_CAP_EXCLUSIVE (UINT64_C(1) << 14)
/* Backend: only programs of the same user on this machine can write to its entries, and it refuses
 * to read what others could have written. */
#define RETAINIT_CAP_PRIVATE (UINT64_C(1) << 15)
/* Serializer: takes and gives `bytes`. */
#define RETAINIT_CAP_FORM_BYTES (UINT64_C(1) << 16)
/* Serializer: takes and gives a MessagePack `tree`. */
#define RETAINIT_CAP_FORM_TREE (UINT64_C(1) << 17)
/* Serializer: takes and gives a `tensor`. */
#define RETAINIT_CAP_FORM_TENSOR (UINT64_C(1) << 18)
/* Serializer: takes and gives an Arrow C stream. */
#define RETAINIT_CAP_FORM_ARROW (UINT64_C(1) << 19)
/* Compressor: trains and takes dictionaries. */
#define RETAINIT_CAP_DICTIONARY (UINT64_C(1) << 24)
/* Backend, since 1.1: `claim`. The bytes of a value that `get` or `get_many` gives are read-only until
 * its holder has claimed them; from then on they are as with `EXCLUSIVE`. */
#define RETAINIT_CAP_CLAIM (UINT64_C(1) << 32)
/* Bits that a host must know in order to use the component. */
#define RETAINIT_CAP_REQUIRED_MASK UINT64_C(0xFF00000000000000)

/* `Value::kind`: no value. */
#define RETAINIT_VALUE_NONE 0u
/* `Value::kind`: `ptr` and `len` are bytes, kept alive by `owner`. */
#define RETAINIT_VALUE_BYTES 1u
/* `Value::kind`: `owner` is an opaque host handle, `len` its weight in bytes, `ptr` null. */
#define RETAINIT_VALUE_OBJECT 2u

/* Bytes borrowed for the duration of one call. */
typedef struct retainit_slice {
    /* First byte; may be dangling (not null) when `len` is zero. */
    const uint8_t *ptr;
    /* Number of bytes. */
    size_t len;
} retainit_slice;

/* How a value's owner counts its references. One static table for each kind of owner. */
typedef struct retainit_ref_table {
    /* Adds a reference. Called only while the value is held; for object handles only on a thread
     * that the host itself is calling on. */
    void (*retain)(void *);
    /* Drops a reference; may be called from any thread, never while a lock is held that the owner
     * could want. */
    void (*release)(void *);
} retainit_ref_table;

/* A reference-counted value. Whoever holds one owns one reference and must release it once.
 *
 * A null `table` means that nothing needs releasing (static data). */
typedef struct retainit_value {
    /* Bytes, or null for objects. */
    const uint8_t *ptr;
    /* Number of bytes, or the object's weight. */
    uint64_t len;
    /* What the reference count belongs to; the object handle itself for objects. */
    void *owner;
    /* How to count; null if there is nothing to count. */
    const retainit_ref_table *table;
    /* `NONE`, `BYTES` or `OBJECT`. */
    uint32_t kind;
    /* Zero. */
    uint32_t reserved;
} retainit_value;

/* "Never", for deadlines and expiries. */
#define RETAINIT_NEVER INT64_MAX

/* What every call carries. */
typedef struct retainit_call {
    /* Generational operation id, unique in the process. Zero: the answer must be ready on return. */
    uint64_t op;
    /* The host's monotonic clock, in nanoseconds, read just before the call; zero where no expiry
     * is to be looked at. */
    int64_t now;
    /* When the call must be over, on the same clock; `NEVER` for no bound. */
    int64_t deadline;
    /* Where an error's message goes, as an owned value; starts as `Value::NONE`. May be null. */
    retainit_value *error;
} retainit_call;

/* A version of an entry, compared for equality only; all zero means "no entry". */
typedef struct retainit_token {
    /* Opaque bytes. */
    uint8_t bytes[16];
} retainit_token;

/* What `get` finds. A plugin writes `value`, `expires` and, with `CAS`, `token`; `status` is for
 * batches, where every field is written. */
typedef struct retainit_item {
    /* The value; the receiver owns one reference. */
    retainit_value value;
    /* When it expires, on the host's monotonic clock; `NEVER` if it does not. */
    int64_t expires;
    /* The entry's version, where the backend has `CAS`. */
    retainit_token token;
    /* The status of this item. */
    int32_t status;
    /* Zero. */
    uint32_t reserved;
} retainit_item;

/* What `set` and its relatives store. */
typedef struct retainit_entry {
    /* The key, borrowed for the call. */
    retainit_slice key;
    /* The value; the plugin takes over the caller's reference, whatever the outcome. */
    retainit_value value;
    /* Time to live in nanoseconds; `NEVER` for none. */
    int64_t ttl;
} retainit_entry;

/* The result of a pending operation. */
typedef struct retainit_outcome {
    /* As a synchronous call would have returned; never `PENDING`. */
    int32_t status;
    /* Zero. */
    uint32_t reserved;
    /* Items of `get` and `get_many`, in order; the host copies them out during the callback and
     * owns their references. For `*_many` without values only `status` of each matters; `add` and
     * `compare_and_set` give one item with the new token, `lease_acquire` one whose token is the
     * holder (and the fence in `number`). */
    const retainit_item *items;
    /* Number of items. */
    size_t item_count;
    /* Result of counting operations: `increment`, `count`, `ttl` (ns), `clear`; the next cursor of
     * `scan`; the fence of `lease_acquire`. */
    int64_t number;
    /* An error's message, a page of `scan`, or the text of `statistics`; owned by the host. */
    retainit_value text;
} retainit_outcome;

/* What is given to `lease_acquire` and comes back from it. */
typedef struct retainit_lease {
    /* Identifies the holder; made by the backend. */
    retainit_token holder;
    /* Grows with every acquisition of the name: a write carrying an older one must be refused. */
    uint64_t fence;
} retainit_lease;

/* One page of a scan: `keys` is `u32` little-endian lengths, each followed by that many key bytes. */
typedef struct retainit_page {
    /* The keys. */
    retainit_value keys;
    /* Where the next page starts; zero when there is none. */
    uint64_t cursor;
    /* Number of keys. */
    uint64_t count;
} retainit_page;

/* Reasons of `HostTable::evicted`. */

/* The backend was full. */
#define RETAINIT_EVICT_CAPACITY 1u
/* The entry had expired. */
#define RETAINIT_EVICT_EXPIRED 2u
/* The entry was damaged and set aside. */
#define RETAINIT_EVICT_CORRUPT 3u

/* Host functions. All may be called from any thread, with the `context` that came to `open`, until
 * `close` has returned. None runs Python, and none calls back into the plugin. */
typedef struct retainit_host_table {
    /* Size and version. */
    retainit_prelude prelude;
    /* Completes the pending operation `op`. Duplicates and late ones are counted and ignored. */
    void (*complete)(void *context, uint64_t op, const retainit_outcome *outcome);
    /* Reports evicted keys: `reasons` holds one of `evict` for each. */
    void (*evicted)(void *context, const retainit_slice *keys, const uint32_t *reasons, size_t count);
    /* Reports keys that something else changed or removed; a count of zero means "anything may
     * have changed". */
    void (*invalidated)(void *context, const retainit_slice *keys, size_t count);
    /* Writes a log line: `level` is 1 (error) to 5 (trace). */
    void (*log)(void *context, uint32_t level, retainit_slice message);
    /* A buffer of `len` writable bytes owned by the host, as a value of kind `BYTES`. */
    retainit_value (*allocate)(void *context, size_t len);
    /* A clock in nanoseconds: 0 monotonic, 1 Unix time. Tests put a fake one here. */
    int64_t (*clock)(void *context, uint32_t which);
} retainit_host_table;

/* The host as an instance sees it. */
typedef struct retainit_host_ref {
    /* The functions. */
    const retainit_host_table *table;
    /* Their first argument. */
    void *context;
} retainit_host_ref;

/* Functions of one backend component.
 *
 * The required core is `open`, `get`, `set`, `delete`, `clear`, `quiesce` and `close`; all else is
 * `None` where the capability is missing. Every function returns a status, see `status`.
 * Every function may be called from many threads at once, except `close`, which is the last call on
 * its instance.
 *
 * Growth is new functions at the end; nothing here is ever renamed, reordered or retyped. */
typedef struct retainit_backend_table {
    /* Size, version and capabilities. */
    retainit_prelude prelude;
    /* Makes an instance from `options` (a JSON object that satisfies the manifest's schema).
     * Cheap: threads, sockets and files start at the first use. */
    int32_t (*open)(retainit_host_ref host, const retainit_call *call, retainit_slice options, void **out);
    /* Reads an entry into `out`: `OK`, `NOT_FOUND`, or an error. */
    int32_t (*get)(void *instance, const retainit_call *call, retainit_slice key, retainit_item *out);
    /* Stores an entry, replacing what was there. */
    int32_t (*set)(void *instance, const retainit_call *call, const retainit_entry *entry);
    /* Removes an entry: `OK` or `NOT_FOUND`. */
    int32_t (*delete_)(void *instance, const retainit_call *call, retainit_slice key);
    /* Removes all entries whose key starts with `prefix`; `removed` gets their number. */
    int32_t (*clear)(void *instance, const retainit_call *call, retainit_slice prefix, uint64_t *removed);
    /* Finishes work in flight before the call's deadline and stops background threads; the
     * instance still answers calls afterwards. */
    int32_t (*quiesce)(void *instance, const retainit_call *call);
    /* Ends the instance. All pending operations have completed when it returns. */
    int32_t (*close)(void *instance, const retainit_call *call);
    /* Reads many: `items[i]` for `keys[i]`, each with a status of its own. */
    int32_t (*get_many)(void *instance, const retainit_call *call, const retainit_slice *keys, size_t count, retainit_item *items);
    /* Stores many; `statuses[i]` for `entries[i]`. */
    int32_t (*set_many)(void *instance, const retainit_call *call, const retainit_entry *entries, size_t count, int32_t *statuses);
    /* Removes many; `statuses[i]` for `keys[i]`. */
    int32_t (*delete_many)(void *instance, const retainit_call *call, const retainit_slice *keys, size_t count, int32_t *statuses);
    /* Cancels the pending operation `op`, best effort; one completion still follows. */
    void (*cancel)(void *instance, uint64_t op);
    /* `CAS`: stores only where no entry is: `OK` (with the new `token`) or `CONFLICT`. */
    int32_t (*add)(void *instance, const retainit_call *call, const retainit_entry *entry, retainit_token *token);
    /* `CAS`: stores only where the entry's token is `*token` (all zero: where none is); writes the
     * new token there. `CONFLICT` otherwise. */
    int32_t (*compare_and_set)(void *instance, const retainit_call *call, const retainit_entry *entry, retainit_token *token);
    /* `COUNTER`: adds `delta` to a decimal integer (starting from zero, with `ttl` when created). */
    int32_t (*increment)(void *instance, const retainit_call *call, retainit_slice key, int64_t delta, int64_t ttl, int64_t *value);
    /* `TTL`: gives a present entry a new time to live in nanoseconds. */
    int32_t (*touch)(void *instance, const retainit_call *call, retainit_slice key, int64_t ttl);
    /* `TTL`: remaining time to live in nanoseconds, `NEVER` for none. */
    int32_t (*ttl)(void *instance, const retainit_call *call, retainit_slice key, int64_t *remaining);
    /* `SCAN`: a page of at most `limit` keys that start with `prefix` and match the glob `pattern`
     * (`*`, `?`, `[...]`, `\` escapes; empty: all). Keys present throughout appear at least once. */
    int32_t (*scan)(void *instance, const retainit_call *call, retainit_slice prefix, retainit_slice pattern, uint64_t cursor, uint64_t limit, retainit_page *page);
    /* `SCAN`: number of entries whose key starts with `prefix`. */
    int32_t (*count)(void *instance, const retainit_call *call, retainit_slice prefix, uint64_t *number);
    /* `LEASE`: takes the lease `name` for `ttl` nanoseconds, or `CONFLICT`. */
    int32_t (*lease_acquire)(void *instance, const retainit_call *call, retainit_slice name, int64_t ttl, retainit_lease *lease);
    /* `LEASE`: prolongs a lease that is still held, or `CONFLICT`. */
    int32_t (*lease_renew)(void *instance, const retainit_call *call, retainit_slice name, int64_t ttl, const retainit_lease *lease);
    /* `LEASE`: gives a lease back, or `CONFLICT` if it was lost before. */
    int32_t (*lease_release)(void *instance, const retainit_call *call, retainit_slice name, const retainit_lease *lease);
    /* `SUBSCRIBE`: from now on reports changes of keys that start with `prefix`, made elsewhere, to
     * `HostTable::invalidated`. */
    int32_t (*subscribe)(void *instance, const retainit_call *call, retainit_slice prefix);
    /* Answers as soon as the store can be reached. */
    int32_t (*ping)(void *instance, const retainit_call *call);
    /* A JSON object of numbers, in `text`: `entries`, `bytes`, `evictions`, and whatever else. */
    int32_t (*statistics)(void *instance, const retainit_call *call, retainit_value *text);
    /* Makes acknowledged writes as durable as they get. */
    int32_t (*flush)(void *instance, const retainit_call *call);
    /* `FORK`: before `fork`, in the parent: brings locks into a known state. */
    void (*fork_prepare)(void *instance);
    /* `FORK`: after `fork`, in the parent. */
    void (*fork_parent)(void *instance);
    /* `FORK`: after `fork`, in the child, where no thread of the parent lives. */
    void (*fork_child)(void *instance);
    /* `CLAIM`, since 1.1: makes the bytes of a value that `get` or `get_many` gave the holder's own, who
     * may write to them from then on. The value stays the caller's; its instance may be closed by now. */
    int32_t (*claim)(const retainit_value *value);
} retainit_backend_table;

/* `Data::form` numbers: the four public forms a serializer sees. */

/* Plain bytes in `value`. */
#define RETAINIT_FORM_BYTES 1u
/* MessagePack with retainit's extension types in `value`. */
#define RETAINIT_FORM_TREE 2u
/* An array: `value` holds its elements, `tensor` describes them. */
#define RETAINIT_FORM_TENSOR 3u
/* `stream` is an `ArrowArrayStream` of the Arrow C stream interface; the receiver takes it over. */
#define RETAINIT_FORM_ARROW 4u

/* Description of an n-dimensional array. */
typedef struct retainit_tensor {
    /* Element type as in NumPy's array interface, such as `<f8`. */
    retainit_slice dtype;
    /* Extents, `ndim` of them. */
    const int64_t *shape;
    /* Strides in bytes, `ndim` of them. */
    const int64_t *strides;
    /* Number of dimensions. */
    uint32_t ndim;
    /* Zero. */
    uint32_t reserved;
} retainit_tensor;

/* One piece of data in one of the four forms. */
typedef struct retainit_data {
    /* One of `form`. */
    uint32_t form;
    /* Zero. */
    uint32_t reserved;
    /* Bytes of `BYTES`, `TREE` and `TENSOR`; owned by the receiver. */
    retainit_value value;
    /* For `TENSOR`. Given to a plugin: borrowed for the call. Given by a plugin: valid for as long
     * as `value` is held. */
    const retainit_tensor *tensor;
    /* For `ARROW`: an `ArrowArrayStream` in memory of the host, either way. Given to a plugin: the
     * plugin moves the stream out (and clears its `release`) or releases it. To be given by a plugin:
     * the host puts the address of an empty one here, and the plugin moves its stream there. */
    void *stream;
} retainit_data;

/* Functions of one serializer component. */
typedef struct retainit_serializer_table {
    /* Size, version and capabilities (the forms it takes). */
    retainit_prelude prelude;
    /* Makes an instance from a JSON object of options. */
    int32_t (*open)(retainit_host_ref host, const retainit_call *call, retainit_slice options, void **out);
    /* Turns data into bytes. */
    int32_t (*serialize)(void *instance, const retainit_call *call, const retainit_data *data, retainit_value *out);
    /* Turns bytes (the plugin takes over the reference, so that it may keep them alive) into data;
     * `CORRUPT` where it cannot. */
    int32_t (*deserialize)(void *instance, const retainit_call *call, const retainit_value *bytes, retainit_data *out);
    /* Ends the instance. */
    int32_t (*close)(void *instance, const retainit_call *call);
} retainit_serializer_table;

/* Functions of one compressor component. */
typedef struct retainit_compressor_table {
    /* Size, version and capabilities. */
    retainit_prelude prelude;
    /* Makes an instance from a JSON object of options. */
    int32_t (*open)(retainit_host_ref host, const retainit_call *call, retainit_slice options, void **out);
    /* Compresses `input`. */
    int32_t (*compress)(void *instance, const retainit_call *call, retainit_slice input, retainit_value *out);
    /* Decompresses `input` into at most `limit` bytes; `CORRUPT` where it cannot, or where the
     * result would be larger. */
    int32_t (*decompress)(void *instance, const retainit_call *call, retainit_slice input, uint64_t limit, retainit_value *out);
    /* `DICTIONARY`: trains a dictionary of at most `size` bytes from samples. */
    int32_t (*train)(void *instance, const retainit_call *call, const retainit_slice *samples, size_t count, uint64_t size, retainit_value *out);
    /* Ends the instance. */
    int32_t (*close)(void *instance, const retainit_call *call);
} retainit_compressor_table;

/* Containers nested deeper than this are not a tree. */
#define RETAINIT_TREE_DEPTH 100u
/* A fraction's body is no longer than this, in bytes: the time that its lowest terms take to find is the
 * square of it. */
#define RETAINIT_TREE_LONGEST_FRACTION 16384u
/* A tuple: an array of its items. */
#define RETAINIT_TREE_TUPLE 1
/* A set: an array of its members, in any order. */
#define RETAINIT_TREE_SET 2
/* A frozenset, as a set. */
#define RETAINIT_TREE_FROZENSET 3
/* An integer beyond 64 bits: two's complement, most significant byte first, as short as it gets. */
#define RETAINIT_TREE_BIG_INT 4
/* Text with lone surrogates: UTF-8 in which each of them is three bytes. */
#define RETAINIT_TREE_SURROGATES 5
/* A `bytearray`: its bytes. */
#define RETAINIT_TREE_BYTEARRAY 6
/* A complex number: real and imaginary part, 8 bytes each. */
#define RETAINIT_TREE_COMPLEX 7
/* A decimal number as text, such as `-1.50E+3`. */
#define RETAINIT_TREE_DECIMAL 8
/* A fraction in lowest terms: an array of two integers. */
#define RETAINIT_TREE_FRACTION 9
/* A UUID: 16 bytes, and one more where it is known whether it was made safely. */
#define RETAINIT_TREE_UUID 10
/* A date. */
#define RETAINIT_TREE_DATE 11
/* A time of day, with or without a zone. */
#define RETAINIT_TREE_TIME 12
/* A date and time, with or without a zone. */
#define RETAINIT_TREE_DATETIME 13
/* A duration. */
#define RETAINIT_TREE_TIMEDELTA 14
/* A time zone of a fixed offset, with or without a name; no bytes at all for UTC. */
#define RETAINIT_TREE_TIMEZONE 15
/* A time zone of the IANA database: its key. */
#define RETAINIT_TREE_ZONE 16
/* A range: an array of start, stop and step. */
#define RETAINIT_TREE_RANGE 17
/* A slice: an array of start, stop and step, of any type. */
#define RETAINIT_TREE_SLICE 18
/* Python's `...`; no bytes. */
#define RETAINIT_TREE_ELLIPSIS 19
/* A path: a byte for its class, and its text. */
#define RETAINIT_TREE_PATH 20
/* An address, network or interface of IP: a byte for its class, and its text. */
#define RETAINIT_TREE_IP 21
/* An n-dimensional array: an array of element type, extents, order and elements. */
#define RETAINIT_TREE_TENSOR 22
/* One element as arrays have them: an array of element type and element. */
#define RETAINIT_TREE_SCALAR 23

/* Numbers of `Event::kind`. */

/* A value was found. */
#define RETAINIT_EVENT_HIT 1u
/* No value was found. */
#define RETAINIT_EVENT_MISS 2u
/* A value was stored. */
#define RETAINIT_EVENT_SET 3u
/* A value was removed. */
#define RETAINIT_EVENT_DELETE 4u
/* Many values were removed. */
#define RETAINIT_EVENT_CLEAR 5u
/* The cache failed; the call did not. */
#define RETAINIT_EVENT_ERROR 6u
/* Values were evicted. */
#define RETAINIT_EVENT_EVICT 7u
/* A stale value was served. */
#define RETAINIT_EVENT_STALE 8u
/* Values were invalidated. */
#define RETAINIT_EVENT_INVALIDATE 9u
/* The function starts. */
#define RETAINIT_EVENT_CALL_START 10u
/* The function returned. */
#define RETAINIT_EVENT_CALL_END 11u
/* The function raised. */
#define RETAINIT_EVENT_CALL_ERROR 12u
/* A backend was opened. */
#define RETAINIT_EVENT_BACKEND_INIT 13u
/* A backend was closed. */
#define RETAINIT_EVENT_BACKEND_CLOSE 14u
/* A circuit breaker opened. */
#define RETAINIT_EVENT_CIRCUIT_OPEN 15u
/* A circuit breaker closed. */
#define RETAINIT_EVENT_CIRCUIT_CLOSE 16u

/* One event. Texts are borrowed for the call and empty where they do not apply. */
typedef struct retainit_event {
    /* One of `event`. */
    uint32_t kind;
    /* Number of the tier, from 0; `u32::MAX` where it does not apply. */
    uint32_t tier;
    /* Unix time in nanoseconds. */
    int64_t time;
    /* Duration in nanoseconds; negative where it does not apply. */
    int64_t duration;
    /* Size in bytes; negative where it does not apply. */
    int64_t size;
    /* How many entries it is about; negative where it does not apply. */
    int64_t count;
    /* Identifies the call. */
    uint64_t call_id;
    /* Qualified name of the function. */
    retainit_slice function;
    /* The key's printable form. */
    retainit_slice key;
    /* Name of the backend. */
    retainit_slice backend;
    /* Tags, joined by U+001F. */
    retainit_slice tags;
    /* The error. */
    retainit_slice error;
} retainit_event;

/* Functions of one event sink component. */
typedef struct retainit_sink_table {
    /* Size, version and capabilities. */
    retainit_prelude prelude;
    /* Makes an instance from a JSON object of options. */
    int32_t (*open)(retainit_host_ref host, const retainit_call *call, retainit_slice options, void **out);
    /* Takes events, in order. Must not block: `BUSY` means that it drops them. */
    int32_t (*emit)(void *instance, const retainit_call *call, const retainit_event *events, size_t count);
    /* Delivers what is buffered before the call's deadline. */
    int32_t (*flush)(void *instance, const retainit_call *call);
    /* Ends the instance. */
    int32_t (*close)(void *instance, const retainit_call *call);
} retainit_sink_table;

/* One component behind the C door. */
typedef struct retainit_component {
    /* One of `kind`. */
    uint32_t kind;
    /* Zero. */
    uint32_t reserved;
    /* The component's table, which begins with its prelude. */
    const retainit_prelude *table;
} retainit_component;

/* The C door's root. */
typedef struct retainit_root {
    /* Size and version. */
    retainit_prelude prelude;
    /* Components in the order of the manifest. */
    const retainit_component *components;
    /* Their number. */
    size_t component_count;
} retainit_root;

/* The same sizes as in Rust. */
RETAINIT_STATIC_ASSERT(sizeof(retainit_prelude) == 16, "retainit_prelude");
RETAINIT_STATIC_ASSERT(sizeof(retainit_slice) == 16, "retainit_slice");
RETAINIT_STATIC_ASSERT(sizeof(retainit_ref_table) == 16, "retainit_ref_table");
RETAINIT_STATIC_ASSERT(sizeof(retainit_value) == 40, "retainit_value");
RETAINIT_STATIC_ASSERT(sizeof(retainit_call) == 32, "retainit_call");
RETAINIT_STATIC_ASSERT(sizeof(retainit_token) == 16, "retainit_token");
RETAINIT_STATIC_ASSERT(sizeof(retainit_item) == 72, "retainit_item");
RETAINIT_STATIC_ASSERT(sizeof(retainit_entry) == 64, "retainit_entry");
RETAINIT_STATIC_ASSERT(sizeof(retainit_outcome) == 72, "retainit_outcome");
RETAINIT_STATIC_ASSERT(sizeof(retainit_lease) == 24, "retainit_lease");
RETAINIT_STATIC_ASSERT(sizeof(retainit_page) == 56, "retainit_page");
RETAINIT_STATIC_ASSERT(sizeof(retainit_host_table) == 64, "retainit_host_table");
RETAINIT_STATIC_ASSERT(sizeof(retainit_host_ref) == 16, "retainit_host_ref");
RETAINIT_STATIC_ASSERT(sizeof(retainit_backend_table) == 248, "retainit_backend_table");
RETAINIT_STATIC_ASSERT(sizeof(retainit_tensor) == 40, "retainit_tensor");
RETAINIT_STATIC_ASSERT(sizeof(retainit_data) == 64, "retainit_data");
RETAINIT_STATIC_ASSERT(sizeof(retainit_serializer_table) == 48, "retainit_serializer_table");
RETAINIT_STATIC_ASSERT(sizeof(retainit_compressor_table) == 56, "retainit_compressor_table");
RETAINIT_STATIC_ASSERT(sizeof(retainit_event) == 128, "retainit_event");
RETAINIT_STATIC_ASSERT(sizeof(retainit_sink_table) == 48, "retainit_sink_table");
RETAINIT_STATIC_ASSERT(sizeof(retainit_component) == 16, "retainit_component");
RETAINIT_STATIC_ASSERT(sizeof(retainit_root) == 32, "retainit_root");

/* Adds a reference for a second holder of a value. */
static inline void retainit_value_retain(const retainit_value *value) {
    if (value->kind != RETAINIT_VALUE_NONE && value->table) value->table->retain(value->owner);
}

/* Drops the reference that a value holds and leaves no value. */
static inline void retainit_value_release(retainit_value *value) {
    retainit_value held = *value;
    value->ptr = 0;
    value->len = 0;
    value->owner = 0;
    value->table = 0;
    value->kind = RETAINIT_VALUE_NONE;
    value->reserved = 0;
    if (held.kind != RETAINIT_VALUE_NONE && held.table) held.table->release(held.owner);
}

/* The C door, which every plugin that is not written in Rust exports. */
RETAINIT_EXPORT const retainit_root *retainit_plugin_root(void);

#ifdef __cplusplus
}
#endif

#endif
