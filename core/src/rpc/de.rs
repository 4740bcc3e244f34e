//! Typed arguments: `serde` reads a [`Value`] in place, and an error names the member it is about.

use std::fmt::Display;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::Value;

/// Arguments that do not have the type that a tool asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// Path from the arguments to the offending member, outermost last; empty at the root.
    path: Vec<String>,
    message: String,
}

impl ArgumentError {
    fn within(mut self, step: impl Display) -> Self {
        self.path.push(step.to_string());
        self
    }
}

impl Display for ArgumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            f.write_str("argument `")?;
            for (depth, step) in self.path.iter().rev().enumerate() {
                f.write_str(if depth == 0 { "" } else { "." })?;
                f.write_str(step)?;
            }
            f.write_str("`: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ArgumentError {}

impl serde::de::Error for ArgumentError {
    fn custom<T: Display>(message: T) -> Self {
        Self {
            path: Vec::new(),
            message: message.to_string(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn serde::de::Expected) -> Self {
        match found {
            // serde's data model calls it a unit value, which no client has ever sent.
            Unexpected::Unit => Self::custom(format_args!("invalid type: null, expected {wanted}")),
            _ => Self::custom(format_args!("invalid type: {found}, expected {wanted}")),
        }
    }
}

type Result<T> = std::result::Result<T, ArgumentError>;

impl<'de> Value<'de> {
    fn unexpected(&self) -> Unexpected<'de> {
        match *self {
            Value::Null => Unexpected::Unit,
            Value::Bool(it) => Unexpected::Bool(it),
            Value::Int(it) => Unexpected::Signed(it),
            Value::Uint(it) => Unexpected::Unsigned(it),
            Value::Float(it) => Unexpected::Float(it),
            Value::Str(it) => Unexpected::Str(it),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }

    /// An integer whatever its spelling: JSON Schema counts `2.0` among the integers.
    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        /// 2^53: up to here each integer has a float of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Value::Float(it) if it.fract() == 0.0 && it.abs() <= EXACT =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
                visitor.visit_i64(it as i64)
            }
            other => other.deserialize_any(visitor),
        }
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.integer(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = ArgumentError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(it) => visitor.visit_bool(it),
            Value::Int(it) => visitor.visit_i64(it),
            Value::Uint(it) => visitor.visit_u64(it),
            Value::Float(it) => visitor.visit_f64(it),
            Value::Str(it) => visitor.visit_borrowed_str(it),
            Value::Array(elements) => visitor.visit_seq(Elements {
                rest: elements.iter(),
                at: 0,
            }),
            Value::Object(members) => visitor.visit_map(Members {
                rest: members.iter(),
                current: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Value::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Value::Str(variant) => visitor.visit_enum(Variant {
                variant,
                content: None,
            }),
            Value::Object(&[(variant, content)]) => visitor.visit_enum(Variant {
                variant,
                content: Some(content),
            }),
            other => Err(ArgumentError::invalid_type(
                other.unexpected(),
                &"a string or an object with one member",
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier
    }
}

impl<'de> IntoDeserializer<'de, ArgumentError> for Value<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Elements<'de> {
    rest: std::slice::Iter<'de, Value<'de>>,
    at: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = ArgumentError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(&value) = self.rest.next() else {
            return Ok(None);
        };
        let at = self.at;
        self.at += 1;
        seed.deserialize(value)
            .map(Some)
            .map_err(|error| error.within(at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Members<'de> {
    rest: std::slice::Iter<'de, (&'de str, Value<'de>)>,
    current: Option<(&'de str, Value<'de>)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = ArgumentError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.current = self.rest.next().copied();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        seed.deserialize(Value::Str(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let (key, value) = self.current.take().unwrap_or_default();
        seed.deserialize(value).map_err(|error| error.within(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Variant<'de> {
    variant: &'de str,
    content: Option<Value<'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ArgumentError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        Ok((seed.deserialize(Value::Str(self.variant))?, self))
    }
}

impl<'de> Variant<'de> {
    fn content(self) -> Result<Value<'de>> {
        self.content
            .ok_or_else(|| ArgumentError::custom("this variant needs a content"))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ArgumentError;

    fn unit_variant(self) -> Result<()> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(other) => Err(ArgumentError::invalid_type(
                other.unexpected(),
                &"no content",
            )),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.content()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.content()?.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Shape {
        Dot,
        Circle(f64),
        Box { w: u8 },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Args {
        n: i64,
        scale: f64,
        note: Option<String>,
        shapes: Vec<Shape>,
    }

    fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
        let arena = bumpalo::Bump::new();
        let mut body = text.as_bytes().to_vec();
        let value = super::super::JsonParser::new(&crate::limits::Limits::default())
            .parse(&mut body, &arena)
            .unwrap();
        T::deserialize(value)
    }

    #[test]
    fn reads_a_typed_struct() {
        let args: Args = parse(
            r#"{"shapes":["dot",{"circle":2},{"box":{"w":3}}],"n":2.0,"scale":1,"note":null}"#,
        )
        .unwrap();
        let shapes = vec![Shape::Dot, Shape::Circle(2.0), Shape::Box { w: 3 }];
        assert_eq!(
            args,
            Args {
                n: 2,
                scale: 1.0,
                note: None,
                shapes
            }
        );
        let untyped: serde_json::Value = parse(r#"{"a":[1,-2,0.5,"x",null,true]}"#).unwrap();
        assert_eq!(
            untyped,
            serde_json::json!({"a": [1, -2, 0.5, "x", null, true]})
        );
    }

    #[test]
    fn an_error_names_the_member() {
        for (text, wanted) in [
            (r#"{"scale":1,"shapes":[]}"#, "missing field `n`"),
            (
                r#"{"n":"1"}"#,
                "argument `n`: invalid type: string \"1\", expected i64",
            ),
            (
                r#"{"n":1.5}"#,
                "argument `n`: invalid type: floating point `1.5`, expected i64",
            ),
            (
                r#"{"shapes":["dot",{"box":{"w":300}}]}"#,
                "argument `shapes.1.w`: invalid value: integer `300`, expected u8",
            ),
            (r#"{"n":1,"n":2}"#, "duplicate field `n`"),
            (
                "[]",
                "invalid length 0, expected struct Args with 4 elements",
            ),
        ] {
            assert_eq!(parse::<Args>(text).unwrap_err().to_string(), wanted);
        }
    }
}
