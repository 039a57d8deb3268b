//! The tree that every format is read into.

/// Deepest nesting a configuration file may have.
pub(super) const MAX_DEPTH: usize = 64;
/// Most values a configuration file may have, aliases counted at their full size.
pub(super) const MAX_NODES: usize = 100_000;

/// A value and the line it starts on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// Text, and how messages show it where it differs from what the file says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub value: String,
    /// The text before `${...}` was expanded; `None` where nothing was.
    pub written: Option<String>,
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub name: String,
    pub line: usize,
}

/// Why a file could not be read, without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mistake {
    pub line: usize,
    /// What was looked at: `option `ttl` for backend `default``, or the format.
    pub subject: String,
    /// What was expected and found, and the hint.
    pub message: String,
}

impl Mistake {
    pub fn new(line: usize, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Mistake { line, subject: subject.into(), message: message.into() }
    }
}

impl Node {
    pub fn new(line: usize, value: Value) -> Self {
        Node { line, value }
    }

    pub fn text(line: usize, value: impl Into<String>) -> Self {
        Node { line, value: Value::Text(Text { value: value.into(), written: None }) }
    }

    /// The value as error messages show it.
    pub fn found(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Integer(value) => format!("the number `{value}`"),
            Value::Float(value) => format!("the number `{value}`"),
            Value::Text(text) => format!("the text `{}`", text.shown()),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The value as JSON. Not-finite numbers have no JSON form and become null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.value.clone().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect(),
            ),
        }
    }

    /// Whether any text in here came from the environment.
    pub fn is_expanded(&self) -> bool {
        match &self.value {
            Value::Text(text) => text.written.is_some(),
            Value::List(items) => items.iter().any(Node::is_expanded),
            Value::Map(entries) => entries.iter().any(|(_, node)| node.is_expanded()),
            _ => false,
        }
    }
}

impl Text {
    /// The text as the file has it.
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.value)
    }
}

/// Adds an entry unless its key is there already.
pub(super) fn insert(entries: &mut Vec<(Key, Node)>, key: Key, node: Node) -> Result<(), Mistake> {
    if let Some((first, _)) = entries.iter().find(|(other, _)| other.name == key.name) {
        let message = format!("expected each key once, found it here and on line {}", first.line);
        return Err(Mistake::new(key.line, format!("key `{}`", key.name), message));
    }
    entries.push((key, node));
    Ok(())
}

/// Refuses nesting beyond [`MAX_DEPTH`].
pub(super) fn check_depth(depth: usize, line: usize) -> Result<(), Mistake> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(Mistake::new(line, "nesting", format!("expected at most {MAX_DEPTH} levels, found more")))
}
