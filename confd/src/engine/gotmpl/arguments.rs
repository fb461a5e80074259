//! Pure: Arguments of a call, checked as Go's reflection checks them: how many, and of which type.

use std::sync::Arc;

use gotmpl::Value;

/// A function that templates can call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    /// Its name in templates.
    pub(super) name: &'static str,
    /// Fewest arguments.
    pub(super) arguments_min: usize,
    /// Most arguments; `usize::MAX` for any number.
    pub(super) arguments_max: usize,
    /// What it does.
    pub(super) call: fn(&Arguments<'_>) -> Result<Value, Fault>,
}

/// A row of a table of functions: name, fewest and most arguments, what it does.
pub(super) const fn function(
    name: &'static str,
    arguments_min: usize,
    arguments_max: usize,
    call: fn(&Arguments<'_>) -> Result<Value, Fault>,
) -> Function {
    Function {
        name,
        arguments_min,
        arguments_max,
        call,
    }
}

/// Why a call failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn outside() -> Self {
        Self::new("called outside of a render")
    }

    pub(super) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The arguments of one call. Invariant: as many as the function takes.
pub(super) struct Arguments<'a> {
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    /// Counts the arguments.
    ///
    /// # Errors
    /// Too few or too many, in Go's words.
    pub(super) fn new(function: Function, values: &'a [Value]) -> Result<Self, Fault> {
        let (min, max, got) = (function.arguments_min, function.arguments_max, values.len());
        if (min..=max).contains(&got) {
            return Ok(Self { values });
        }
        let want = if min == max {
            format!("{min}")
        } else if got < min {
            format!("at least {min}")
        } else {
            format!("at most {max}")
        };
        Err(Fault::new(format!(
            "wrong number of args for {}: want {want} got {got}",
            function.name
        )))
    }

    /// All of them.
    pub(super) fn all(&self) -> &'a [Value] {
        self.values
    }

    /// One that may be absent.
    pub(super) fn get(&self, at: usize) -> Option<&'a Value> {
        self.values.get(at)
    }

    /// One of any type.
    pub(super) fn value(&self, at: usize) -> &'a Value {
        self.values.get(at).unwrap_or(&Value::Nil)
    }

    pub(super) fn text(&self, at: usize) -> Result<&'a str, Fault> {
        let value = self.value(at);
        value.as_str().ok_or_else(|| wrong("string", value))
    }

    /// A text that may be absent.
    pub(super) fn text_or_none(&self, at: usize) -> Result<Option<&'a str>, Fault> {
        self.get(at).map(|_| self.text(at)).transpose()
    }

    pub(super) fn int(&self, at: usize) -> Result<i64, Fault> {
        match self.value(at) {
            Value::Int(number) => Ok(*number),
            other => Err(wrong("int", other)),
        }
    }

    pub(super) fn bool(&self, at: usize) -> Result<bool, Fault> {
        match self.value(at) {
            Value::Bool(flag) => Ok(*flag),
            other => Err(wrong("bool", other)),
        }
    }

    /// A list; nil is an empty one, as in Go.
    pub(super) fn list(&self, at: usize) -> Result<&'a [Value], Fault> {
        match self.value(at) {
            Value::List(list) => Ok(list),
            Value::Nil => Ok(&[]),
            other => Err(wrong("list", other)),
        }
    }

    /// A map; nil is an empty one, as in Go.
    pub(super) fn map(&self, at: usize) -> Result<Vec<(&'a Arc<str>, &'a Value)>, Fault> {
        match self.value(at) {
            Value::Map(map) => Ok(map.iter().collect()),
            Value::Nil => Ok(Vec::new()),
            other => Err(wrong("map", other)),
        }
    }
}

fn wrong(wanted: &str, got: &Value) -> Fault {
    Fault::new(match got {
        Value::Nil => format!("invalid value; expected {wanted}"),
        other => format!(
            "wrong type for value; expected {wanted}; got {}",
            other.type_name()
        ),
    })
}
