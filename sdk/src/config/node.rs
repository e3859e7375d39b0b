//! Deserialises from a JSON value with [`Problem`] as the error: [`Node`].

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        VariantAccess, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};
use simd_json::{OwnedValue, StaticNode};

use super::{key::Key, problem::Problem};

/// One value of the configuration.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a OwnedValue);

struct Elements<'a> {
    values: std::iter::Enumerate<std::slice::Iter<'a, OwnedValue>>,
}

struct Fields<'a, I> {
    fields: I,
    current: Option<(&'a str, &'a OwnedValue)>,
}

struct Variant<'a> {
    name: &'a str,
    content: Option<&'a OwnedValue>,
}

impl<'a> Node<'a> {
    fn elements(values: &'a [OwnedValue]) -> Elements<'a> {
        Elements {
            values: values.iter().enumerate(),
        }
    }
}

/// Reads what a seed makes of `value`; a problem of the seed's own is told without the value.
fn read<'de, S: DeserializeSeed<'de>>(value: &OwnedValue, seed: S) -> Result<S::Value, Problem> {
    seed.deserialize(Node(value))
        .map_err(|problem| problem.within(value))
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            OwnedValue::Static(StaticNode::Null) => visitor.visit_unit(),
            OwnedValue::Static(StaticNode::Bool(value)) => visitor.visit_bool(*value),
            OwnedValue::Static(StaticNode::I64(value)) => visitor.visit_i64(*value),
            OwnedValue::Static(StaticNode::U64(value)) => visitor.visit_u64(*value),
            OwnedValue::Static(StaticNode::F64(value)) => visitor.visit_f64(*value),
            OwnedValue::String(text) => visitor.visit_str(text),
            OwnedValue::Array(values) => {
                let mut elements = Node::elements(values);
                let value = visitor.visit_seq(&mut elements)?;
                match elements.values.len() {
                    0 => Ok(value),
                    _ => Err(Problem::invalid_length(values.len(), &"fewer elements")),
                }
            }
            OwnedValue::Object(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                current: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            OwnedValue::Static(StaticNode::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    /// A list of values without names is no struct, although serde could read it as one.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.0 {
            OwnedValue::Array(_) => Err(Problem::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        const EXPECTED: &str = "one variant's name, or a map of one variant";
        match self.0 {
            OwnedValue::String(name) => visitor.visit_enum(Variant {
                name,
                content: None,
            }),
            OwnedValue::Object(fields) => match fields.iter().next() {
                Some((name, content)) if fields.len() == 1 => visitor.visit_enum(Variant {
                    name,
                    content: Some(content),
                }),
                _ => Err(Problem::invalid_value(Unexpected::Map, &EXPECTED)),
            },
            OwnedValue::Array(_) => Err(Problem::invalid_type(Unexpected::Seq, &EXPECTED)),
            OwnedValue::Static(StaticNode::Null) => {
                Err(Problem::invalid_type(Unexpected::Unit, &EXPECTED))
            }
            OwnedValue::Static(StaticNode::Bool(value)) => {
                Err(Problem::invalid_type(Unexpected::Bool(*value), &EXPECTED))
            }
            OwnedValue::Static(_) => Err(Problem::invalid_type(Unexpected::Float(0.0), &EXPECTED)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Problem> {
        let Some((index, value)) = self.values.next() else {
            return Ok(None);
        };
        read(value, seed)
            .map(Some)
            .map_err(|problem| problem.in_element(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

impl<'de, 'a, I> MapAccess<'de> for Fields<'a, I>
where
    I: Iterator<Item = (&'a String, &'a OwnedValue)>,
{
    type Error = Problem;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Problem> {
        let Some((name, value)) = self.fields.next() else {
            return Ok(None);
        };
        self.current = Some((name, value));
        seed.deserialize(Key(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some((name, value)) = self.current.take() else {
            return Err(Problem::custom("a value was read before its key"));
        };
        read(value, seed).map_err(|problem| problem.in_field(name))
    }
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Problem> {
        let name: StrDeserializer<'a, Problem> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant<'_> {
    /// Reads the content as `visitor` wants it.
    fn content<T>(self, read: impl FnOnce(Node<'_>) -> Result<T, Problem>) -> Result<T, Problem> {
        let null = OwnedValue::Static(StaticNode::Null);
        let content = self.content.unwrap_or(&null);
        read(Node(content)).map_err(|problem| problem.within(content).in_field(self.name))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        self.content(|node| serde::Deserialize::deserialize(node))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Problem> {
        self.content(|node| seed.deserialize(node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.content(|node| node.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.content(|node| node.deserialize_any(visitor))
    }
}
