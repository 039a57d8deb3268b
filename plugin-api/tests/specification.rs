//! `docs/abi.md` says what the types say: no status, capability, operation or callback is missing, and
//! the numbers are the same.

use std::path::Path;

use retainit_plugin_api::abi::{capability, codec, kind, status};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of tables, as cells.
fn rows(text: &str) -> Vec<Vec<String>> {
    let row = |line: &str| -> Option<Vec<String>> {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(|cell| cell.trim().replace('`', "")).collect())
    };
    text.lines().filter_map(row).collect()
}

/// The part of the page below a heading, up to the next one of its level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(heading).unwrap_or_else(|| panic!("there is no `{heading}`")) + heading.len();
    let level = heading.split(' ').next().expect("a heading begins with its level");
    let end = text[start..].find(&format!("\n{level} ")).map_or(text.len(), |end| start + end);
    &text[start..end]
}

/// Fields of a struct in the sources that are functions.
fn functions(file: &str, name: &str) -> Vec<String> {
    let source = syn::parse_file(&read(&format!("src/abi/{file}.rs"))).expect("the sources are Rust");
    let item = source.items.into_iter().find_map(|item| match item {
        syn::Item::Struct(item) if item.ident == name => Some(item),
        _ => None,
    });
    let fields = item.unwrap_or_else(|| panic!("there is no `{name}`")).fields;
    let names = fields.into_iter().map(|field| field.ident.expect("a name").to_string());
    names.filter(|name| name != "prelude").collect()
}

#[test]
fn every_function_has_its_row_in_order() {
    let page = read("../docs/abi.md");
    for (heading, file, table) in [
        ("### Backends", "backend", "BackendTable"),
        ("### Serializers", "codec", "SerializerTable"),
        ("### Compressors", "codec", "CompressorTable"),
        ("### Event sinks", "sink", "SinkTable"),
        ("### The host", "host", "HostTable"),
    ] {
        let expected = functions(file, table);
        let found: Vec<String> = rows(section(&page, heading))
            .into_iter()
            .map(|row| row[0].clone())
            .filter(|name| expected.contains(name))
            .collect();
        assert_eq!(found, expected, "{heading}");
    }
}

#[test]
fn statuses_have_their_numbers() {
    let page = read("../docs/abi.md");
    let found: Vec<(i32, String)> = rows(section(&page, "### Statuses"))
        .into_iter()
        .filter_map(|row| Some((row[0].parse().ok()?, row[1].clone())))
        .collect();
    let numbers: Vec<i32> = found.iter().map(|(number, _)| *number).collect();
    let expected: Vec<i32> = (0..).take_while(|number| status::name(*number) != "unknown status").collect();
    let errors: Vec<i32> =
        (1..).map(|n: i32| -n).take_while(|number| status::name(*number) != "unknown status").collect();
    assert_eq!(numbers, [expected, errors].concat());
    for (number, name) in found {
        assert_eq!(name.to_lowercase().replace('_', " "), status::name(number));
    }
}

#[test]
fn capabilities_have_their_bits() {
    let page = read("../docs/abi.md");
    let found: Vec<(u64, String)> = rows(section(&page, "## 6. Capabilities"))
        .into_iter()
        .filter_map(|row| Some((1 << row[0].parse::<u32>().ok()?, row[1].clone())))
        .collect();
    let expected: Vec<(u64, String)> = capability::NAMES
        .iter()
        .map(|(bit, name)| {
            let form =
                if (capability::FORM_BYTES..=capability::FORM_ARROW).contains(bit) { "FORM_" } else { "" };
            (*bit, format!("{form}{}", name.to_uppercase()))
        })
        .collect();
    assert_eq!(found, expected);
    assert!(page.contains(&format!("`{:#X}`", capability::REQUIRED_MASK).replace("0X", "0x")));
}

#[test]
fn forms_and_kinds_are_named() {
    let page = read("../docs/abi.md");
    let forms: Vec<u32> = rows(section(&page, "### Serializers"))
        .into_iter()
        .filter_map(|row| row.get(1)?.parse().ok())
        .collect();
    use codec::form;
    assert_eq!(forms, [form::BYTES, form::TREE, form::TENSOR, form::ARROW]);
    for number in [kind::BACKEND, kind::SERIALIZER, kind::COMPRESSOR, kind::SINK] {
        assert!(page.contains(&format!("`{}`", kind::name(number))));
    }
}

#[test]
fn the_example_is_a_manifest() {
    let page = read("../docs/abi.md");
    let start = page.find("```json\n").expect("an example") + 8;
    let end = start + page[start..].find("```").expect("its end");
    let manifest: retainit_plugin_api::abi::manifest::Manifest =
        serde_json::from_str(&page[start..end]).unwrap();
    assert_eq!(manifest.name, "memory");
}
