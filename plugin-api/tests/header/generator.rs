//! Writes the C header out of the Rust sources of the ABI.
//!
//! The sources are plain: `repr(C)` structs of numbers, pointers, arrays and function pointers, and
//! constants. Anything else is a mistake, and stops the generator.

use std::fmt::Write as _;
use std::mem::size_of;
use std::path::Path;

use retainit_plugin_api::abi;
use syn::{
    Attribute, Expr, Fields, GenericArgument, Item, ItemConst, ItemStruct, Lit, Meta, PathArguments,
    ReturnType, Type, UnOp,
};

/// Files in the order of their dependencies.
const FILES: [&str; 10] =
    ["mod", "status", "capability", "value", "call", "host", "backend", "codec", "tree", "sink"];

/// Sizes as Rust sees them, which the header asserts.
const SIZES: &[(&str, usize)] = &[
    ("Prelude", size_of::<abi::Prelude>()),
    ("Slice", size_of::<abi::value::Slice>()),
    ("RefTable", size_of::<abi::value::RefTable>()),
    ("Value", size_of::<abi::value::Value>()),
    ("Call", size_of::<abi::call::Call>()),
    ("Token", size_of::<abi::call::Token>()),
    ("Item", size_of::<abi::call::Item>()),
    ("Entry", size_of::<abi::call::Entry>()),
    ("Outcome", size_of::<abi::call::Outcome>()),
    ("Lease", size_of::<abi::call::Lease>()),
    ("Page", size_of::<abi::call::Page>()),
    ("HostTable", size_of::<abi::host::HostTable>()),
    ("HostRef", size_of::<abi::host::HostRef>()),
    ("BackendTable", size_of::<abi::backend::BackendTable>()),
    ("Tensor", size_of::<abi::codec::Tensor>()),
    ("Data", size_of::<abi::codec::Data>()),
    ("SerializerTable", size_of::<abi::codec::SerializerTable>()),
    ("CompressorTable", size_of::<abi::codec::CompressorTable>()),
    ("Event", size_of::<abi::sink::Event>()),
    ("SinkTable", size_of::<abi::sink::SinkTable>()),
    ("CComponent", size_of::<abi::root::CComponent>()),
    ("CRoot", size_of::<abi::root::CRoot>()),
];

const HEAD: &str = r#"/* The retainit plugin ABI for C. docs/abi.md is its specification.
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
"#;

const TAIL: &str = r#"
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
"#;

/// The header for the sources in `directory`.
pub fn generate(directory: &Path) -> String {
    let mut out = HEAD.to_owned();
    for name in FILES.iter().chain(&["root"]) {
        let path = directory.join(format!("{name}.rs"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        items(&mut out, &file.items, module_prefix(name));
    }
    out.push_str("\n/* The same sizes as in Rust. */\n");
    for (name, size) in SIZES {
        let name = type_name(name);
        let _ = writeln!(out, "RETAINIT_STATIC_ASSERT(sizeof({name}) == {size}, \"{name}\");");
    }
    out.push_str(TAIL);
    out
}

fn items(out: &mut String, items: &[Item], prefix: &str) {
    // Submodules of constants come first: struct fields speak of them.
    for item in items {
        match item {
            Item::Mod(module) => {
                if let Some((_, content)) = &module.content {
                    out.push('\n');
                    comment(out, &module.attrs, "");
                    constants(out, content, module_prefix(&module.ident.to_string()));
                }
            }
            Item::Const(_) | Item::Struct(_) | Item::Impl(_) | Item::Use(_) | Item::Type(_) | Item::Fn(_) => {
            }
            other => panic!("unexpected item in the abi: {other:?}"),
        }
    }
    constants(out, items, prefix);
    for item in items {
        if let Item::Struct(item) = item {
            structure(out, item);
        }
    }
}

fn constants(out: &mut String, items: &[Item], prefix: &str) {
    let constants: Vec<&ItemConst> = items
        .iter()
        .filter_map(|item| match item {
            Item::Const(item) => value_of(&item.expr, &item.ty).is_some().then_some(item),
            _ => None,
        })
        .collect();
    if !constants.is_empty() {
        out.push('\n');
    }
    for item in constants {
        comment(out, &item.attrs, "");
        let value = value_of(&item.expr, &item.ty).expect("filtered");
        let _ = writeln!(out, "#define {prefix}{} {value}", item.ident);
    }
}

fn module_prefix(name: &str) -> &'static str {
    match name {
        "mod" => "RETAINIT_",
        "status" => "RETAINIT_STATUS_",
        "capability" => "RETAINIT_CAP_",
        "tree" => "RETAINIT_TREE_",
        "value" => "RETAINIT_VALUE_",
        "call" => "RETAINIT_",
        "evict" => "RETAINIT_EVICT_",
        "form" => "RETAINIT_FORM_",
        "event" => "RETAINIT_EVENT_",
        "kind" => "RETAINIT_KIND_",
        "host" | "backend" | "codec" | "sink" | "root" => "RETAINIT_",
        other => panic!("no prefix for constants of `{other}`"),
    }
}

/// A constant's value in C, `None` for what C does not get (texts, structs, assertions).
fn value_of(expr: &Expr, ty: &Type) -> Option<String> {
    let ty = match ty {
        Type::Path(path) => path.path.get_ident()?.to_string(),
        _ => return None,
    };
    let wrap = |text: String| match ty.as_str() {
        "u64" => Some(format!("UINT64_C({text})")),
        "u32" => Some(format!("{text}u")),
        "u16" | "i8" | "i32" => Some(text),
        _ => None,
    };
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => wrap(number.to_string().replace('_', "")),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            value_of(&unary.expr, &syn::parse_str("i32").expect("a type")).map(|text| format!("(-{text})"))
        }
        Expr::Binary(shift) if matches!(shift.op, syn::BinOp::Shl(_)) => {
            let left = value_of(&shift.left, &syn::parse_str(&ty).expect("a type"))?;
            let right = value_of(&shift.right, &syn::parse_str("i32").expect("a type"))?;
            Some(format!("({left} << {right})"))
        }
        Expr::Path(path) if path.path.segments.last()?.ident == "MAX" && ty == "i64" => {
            Some("INT64_MAX".to_owned())
        }
        _ => None,
    }
}

fn structure(out: &mut String, item: &ItemStruct) {
    // The Rust door is not for C.
    if item.ident == "PluginRoot" || !is_repr_c(&item.attrs) {
        return;
    }
    let name = type_name(&item.ident.to_string());
    out.push('\n');
    comment(out, &item.attrs, "");
    let _ = writeln!(out, "typedef struct {name} {{");
    let Fields::Named(fields) = &item.fields else { panic!("{name} has no named fields") };
    for field in &fields.named {
        comment(out, &field.attrs, "    ");
        let field_name = field.ident.as_ref().expect("a named field").to_string();
        let _ = writeln!(out, "    {};", declaration(&field.ty, &c_name(&field_name)));
    }
    let _ = writeln!(out, "}} {name};");
}

fn is_repr_c(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("repr")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "C")
    })
}

/// C++ keeps some names for itself.
fn c_name(name: &str) -> String {
    match name {
        "delete" | "new" | "class" | "operator" | "template" => format!("{name}_"),
        _ => name.to_owned(),
    }
}

/// `BackendTable` is `retainit_backend_table`, `CRoot` is `retainit_root`.
fn type_name(name: &str) -> String {
    let name = match name {
        "CRoot" => "Root",
        "CComponent" => "Component",
        other => other,
    };
    let mut out = "retainit".to_owned();
    for letter in name.chars() {
        if letter.is_uppercase() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// A declaration of `name` with a type.
fn declaration(ty: &Type, name: &str) -> String {
    match ty {
        Type::Ptr(pointer) => {
            let qualifier = if pointer.const_token.is_some() { "const " } else { "" };
            match &*pointer.elem {
                // A pointer to a pointer: the outer one is never const here.
                Type::Ptr(_) => declaration(&pointer.elem, &format!("*{name}")),
                inner => format!("{qualifier}{}", declaration(inner, &format!("*{name}"))),
            }
        }
        Type::Array(array) => match &array.len {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(length) => declaration(&array.elem, &format!("{name}[{length}]")),
                _ => panic!("an array of unknown length"),
            },
            _ => panic!("an array of unknown length"),
        },
        Type::BareFn(function) => {
            let arguments: Vec<String> = function
                .inputs
                .iter()
                .map(|argument| {
                    let name =
                        argument.name.as_ref().map_or(String::new(), |(name, _)| c_name(&name.to_string()));
                    declaration(&argument.ty, &name).trim_end().to_owned()
                })
                .collect();
            let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
            match &function.output {
                ReturnType::Default => format!("void (*{name})({arguments})"),
                ReturnType::Type(_, ty) => declaration(ty, &format!("(*{name})({arguments})")),
            }
        }
        Type::Path(path) => {
            let last = path.path.segments.last().expect("a type's name");
            if last.ident == "Option" {
                let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                    panic!("an option of nothing")
                };
                let Some(GenericArgument::Type(inner @ Type::BareFn(_))) = arguments.args.first() else {
                    panic!("only functions are optional")
                };
                return declaration(inner, name);
            }
            let c = match last.ident.to_string().as_str() {
                "c_void" => "void".to_owned(),
                "usize" => "size_t".to_owned(),
                "u8" => "uint8_t".to_owned(),
                "u16" => "uint16_t".to_owned(),
                "u32" => "uint32_t".to_owned(),
                "u64" => "uint64_t".to_owned(),
                "i32" => "int32_t".to_owned(),
                "i64" => "int64_t".to_owned(),
                other => {
                    assert!(
                        SIZES.iter().any(|(known, _)| *known == other),
                        "unknown type `{other}` in the abi"
                    );
                    type_name(other)
                }
            };
            format!("{c} {name}")
        }
        other => panic!("unexpected type in the abi: {other:?}"),
    }
}

/// The documentation as a comment, with Rust's links turned into names.
fn comment(out: &mut String, attributes: &[Attribute], indent: &str) {
    let lines: Vec<String> = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(plain(text.value().trim())),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .collect();
    let Some((last, first)) = lines.split_last() else { return };
    if first.is_empty() {
        let _ = writeln!(out, "{indent}/* {last} */");
        return;
    }
    for (i, line) in first.iter().enumerate() {
        let lead = if i == 0 { "/*" } else { " *" };
        let _ = writeln!(out, "{}", format!("{indent}{lead} {line}").trim_end());
    }
    let _ = writeln!(out, "{indent} * {last} */");
}

/// ``[`x`](y)`` and ``[`x`]`` become `x`, back-quoted.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        out.push_str(&rest[..start]);
        let link = &rest[start + 1..];
        let end = link.find("`]").expect("a link ends") + 1;
        // `Self::`, `super::` and modules say nothing in C.
        let name = link[1..end - 1].rsplit("super::").next().expect("a name");
        out.push_str(&format!("`{name}`"));
        rest = &link[end + 1..];
        if let Some(target) = rest.strip_prefix('(') {
            rest = &target[target.find(')').expect("a link's target ends") + 1..];
        }
    }
    out.push_str(rest);
    out
}
