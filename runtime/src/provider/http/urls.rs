//! Where the configuration service answers what: its URL and the templates below it.

use crate::{
    config::{
        UrlTemplates,
        spec::{Direction, HttpProvider},
    },
    provider::Id,
};

/// The addresses of one service.
pub(super) struct Urls {
    base: String,
    templates: UrlTemplates,
}

impl Urls {
    pub(super) fn new(service: &HttpProvider) -> Self {
        Self {
            base: service.base_url.trim_end_matches('/').to_owned(),
            templates: service.url_templates.clone(),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn active_configs(&self) -> String {
        format!("{}{}", self.base, self.templates.get_active_configs)
    }

    pub(super) fn active_versions(&self) -> String {
        format!("{}{}", self.base, self.templates.get_active_versions)
    }

    pub(super) fn create(&self, id: &Id) -> String {
        let templates = &self.templates;
        self.of(id, &templates.create_sink, &templates.create_source)
    }

    pub(super) fn versions(&self, id: &Id) -> String {
        let templates = &self.templates;
        self.of(
            id,
            &templates.get_sink_configs,
            &templates.get_source_configs,
        )
    }

    pub(super) fn version(&self, id: &Id, version: u32) -> String {
        let templates = &self.templates;
        with_version(
            &self.of(id, &templates.get_sink_config, &templates.get_source_config),
            version,
        )
    }

    pub(super) fn active(&self, id: &Id) -> String {
        let templates = &self.templates;
        self.of(
            id,
            &templates.get_active_sink_config,
            &templates.get_active_source_config,
        )
    }

    pub(super) fn activate(&self, id: &Id) -> String {
        let templates = &self.templates;
        self.of(id, &templates.set_active_sink, &templates.set_active_source)
    }

    /// Without a version: all of them.
    pub(super) fn delete(&self, id: &Id, version: Option<u32>) -> String {
        let templates = &self.templates;
        let all = self.of(
            id,
            &templates.delete_sink_config,
            &templates.delete_source_config,
        );
        let Some(version) = version else {
            return all;
        };
        let joint = if all.contains('?') { '&' } else { '?' };
        format!("{all}{joint}version={version}")
    }

    /// A key has no letter that would mean something in a URL.
    fn of(&self, id: &Id, sink: &str, source: &str) -> String {
        let template = match id.direction() {
            Direction::Sink => sink,
            Direction::Source => source,
        };
        format!("{}{}", self.base, template.replace("{key}", id.key()))
    }
}

fn with_version(url: &str, version: u32) -> String {
    url.replace("{version}", &version.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn urls(base: &str, change: impl FnOnce(&mut UrlTemplates)) -> Urls {
        let mut url_templates = UrlTemplates::default();
        change(&mut url_templates);
        Urls::new(&HttpProvider {
            base_url: base.into(),
            timeout: Duration::from_secs(1),
            request_headers: vec![],
            retry: None,
            url_templates,
            data_path: None,
            error_path: None,
        })
    }

    #[test]
    fn the_documented_templates_are_the_defaults() {
        let urls = urls("http://h/api/", |_| {});
        let (sink, source) = (
            Id::new(Direction::Sink, "a-b").unwrap(),
            Id::new(Direction::Source, "c").unwrap(),
        );
        for (url, expected) in [
            (urls.active_configs(), "/configs/active"),
            (urls.active_versions(), "/configs/active/versions"),
            (urls.create(&sink), "/sinks/a-b/configs"),
            (urls.create(&source), "/sources/c/configs"),
            (urls.versions(&sink), "/sinks/a-b/configs"),
            (urls.versions(&source), "/sources/c/configs"),
            (urls.version(&sink, 3), "/sinks/a-b/configs/3"),
            (urls.version(&source, 0), "/sources/c/configs/0"),
            (urls.active(&sink), "/sinks/a-b/configs/active"),
            (urls.active(&source), "/sources/c/configs/active"),
            (urls.activate(&sink), "/sinks/a-b/configs/active"),
            (urls.activate(&source), "/sources/c/configs/active"),
            (urls.delete(&sink, None), "/sinks/a-b/configs"),
            (
                urls.delete(&source, Some(7)),
                "/sources/c/configs?version=7",
            ),
        ] {
            assert_eq!(url, format!("http://h/api{expected}"));
        }
    }

    #[test]
    fn a_template_may_have_a_query() {
        let urls = urls("http://h", |templates| {
            templates.delete_sink_config = "/delete?sink={key}".into();
            templates.get_sink_config = "/get?sink={key}&version={version}".into();
        });
        let sink = Id::new(Direction::Sink, "k").unwrap();
        assert_eq!(
            urls.delete(&sink, Some(1)),
            "http://h/delete?sink=k&version=1"
        );
        assert_eq!(urls.version(&sink, 2), "http://h/get?sink=k&version=2");
    }
}
