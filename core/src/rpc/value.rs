//! A JSON value borrowed from the request: strings from the body, structure from the arena.

/// One JSON value. Copying it copies a pointer; the members of an object keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that fits 64 bits signed.
    Int(i64),
    /// An integer beyond `i64::MAX` that fits 64 bits unsigned.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A string, unescaped.
    Str(&'a str),
    /// Elements in order.
    Array(&'a [Value<'a>]),
    /// Members in order, duplicates included.
    Object(&'a [(&'a str, Value<'a>)]),
}

impl<'a> Value<'a> {
    /// The first member called `key`, if this is an object that has one.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.as_object()?
            .iter()
            .find(|(name, _)| *name == key)
            .map(|&(_, value)| value)
    }

    /// The text, if this is a string.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if this is an object.
    pub fn as_object(self) -> Option<&'a [(&'a str, Value<'a>)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The members called `keys`, in that order, in one pass however many others there are;
    /// the error names a key that occurs twice.
    pub fn pick<const N: usize>(
        self,
        keys: [&'static str; N],
    ) -> Result<[Option<Value<'a>>; N], &'static str> {
        let mut found = [None; N];
        for &(name, value) in self.as_object().unwrap_or_default() {
            if let Some(at) = keys.iter().position(|key| *key == name)
                && found[at].replace(value).is_some()
            {
                return Err(keys[at]);
            }
        }
        Ok(found)
    }
}
