//! Where a message goes: the outputs by the names that messages may call them.

use std::collections::HashMap;

use super::Output;

/// Longest part of an unknown route that is shown.
const MAX_SHOWN: usize = 100;

/// The outputs by name: a route of their own, `stream/topic` and `/stream/topic`.
pub(super) struct Routes {
    outputs: HashMap<Vec<u8>, usize>,
    /// As people write them.
    known: String,
}

impl Routes {
    pub(super) fn new(outputs: &[Output]) -> Self {
        let mut by_name = HashMap::new();
        let mut known = Vec::new();
        for (number, output) in outputs.iter().enumerate() {
            let path = format!("/{}/{}", output.topic.stream, output.topic.topic);
            // The configuration has seen to it that no name stands for two.
            by_name
                .entry(path.as_bytes()[1..].to_vec())
                .or_insert(number);
            by_name.entry(path.clone().into_bytes()).or_insert(number);
            if let Some(route) = &output.route {
                by_name.insert(route.clone().into_bytes(), number);
            }
            known.push(format!("`{}`", output.route.as_ref().unwrap_or(&path)));
        }
        Self {
            outputs: by_name,
            known: known.join(", "),
        }
    }

    /// The output's number. A message without a route goes to the first one.
    ///
    /// # Errors
    ///
    /// Why it can go nowhere.
    pub(super) fn find(&self, route: Option<&[u8]>) -> Result<usize, String> {
        let Some(route) = route.filter(|route| !route.is_empty()) else {
            return Ok(0);
        };
        self.outputs.get(route).copied().ok_or_else(|| {
            let route = &route[..route.len().min(MAX_SHOWN)];
            let route = String::from_utf8_lossy(route);
            format!(
                "the route `{route}` is unknown: this source has {}",
                self.known
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iggy_connector_message::{Schema, TopicMetadata};
    use iggy_connector_transform::Chain;

    use super::*;
    use crate::pipeline::Stages;

    fn output(stream: &str, topic: &str, route: Option<&str>) -> Output {
        Output {
            topic: Arc::new(TopicMetadata {
                stream: stream.to_owned(),
                topic: topic.to_owned(),
            }),
            route: route.map(str::to_owned),
            stages: Stages::of_source(Schema::Raw, Chain::default()).unwrap(),
        }
    }

    #[test]
    fn an_output_is_found_by_its_route_and_by_its_stream_and_topic() {
        let routes = Routes::new(&[
            output("orders", "new", None),
            output("orders", "old", Some("archive")),
        ]);
        for (route, expected) in [
            (None, 0),
            (Some(""), 0),
            (Some("orders/new"), 0),
            (Some("/orders/new"), 0),
            (Some("orders/old"), 1),
            (Some("/orders/old"), 1),
            (Some("archive"), 1),
        ] {
            let found = routes.find(route.map(str::as_bytes));
            assert_eq!(found, Ok(expected), "{route:?}");
        }
    }

    #[test]
    fn an_unknown_route_is_named_beside_the_known_ones() {
        let routes = Routes::new(&[
            output("orders", "new", None),
            output("orders", "old", Some("archive")),
        ]);
        assert_eq!(
            routes.find(Some(b"archives")),
            Err("the route `archives` is unknown: this source has `/orders/new`, `archive`".into())
        );
        let long = routes.find(Some(&[0xff; 10_000])).unwrap_err();
        assert!(long.len() < 1_000, "{long}");
    }
}
