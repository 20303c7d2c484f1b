//! The name under which a cluster pulls an image.

/// Joins what `<+artifacts.primary.image>` yields: `host/path:tag`, or `host/path@sha256:…` when
/// there is a digest and no tag.
///
/// The host is that of the registry's URL. An image path that begins with a host itself (a part with
/// a dot or a port, or `localhost`, as container tools tell them apart) keeps it.
///
/// ```
/// use sortie_model::service::image::image_name;
///
/// let url = "https://registry.example.com:5000/v2/";
/// assert_eq!(image_name(url, "shop/web", Some("1.2"), None), "registry.example.com:5000/shop/web:1.2");
/// ```
pub fn image_name(
    registry_url: &str,
    image_path: &str,
    tag: Option<&str>,
    digest: Option<&str>,
) -> String {
    let path = image_path.trim_matches('/');
    let mut name = match path.split_once('/') {
        Some((first, _)) if is_host(first) => path.to_owned(),
        _ => match host(registry_url) {
            host if DOCKER_HUB.contains(&host) && !path.contains('/') => {
                format!("docker.io/library/{path}")
            }
            host if DOCKER_HUB.contains(&host) => format!("docker.io/{path}"),
            "" => path.to_owned(),
            host => format!("{host}/{path}"),
        },
    };
    if let Some(tag) = tag.filter(|tag| !tag.is_empty()) {
        name.push(':');
        name.push_str(tag);
    } else if let Some(digest) = digest.filter(|digest| !digest.is_empty()) {
        name.push('@');
        name.push_str(digest);
    }
    name
}

/// Hosts under which Docker Hub is written down; clusters pull from `docker.io`.
const DOCKER_HUB: [&str; 5] = [
    "index.docker.io",
    "registry.hub.docker.com",
    "registry-1.docker.io",
    "hub.docker.com",
    "docker.io",
];

fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

/// Host and port of a URL; text without a scheme is taken as one.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::image_name;

    #[test]
    fn names_images_as_clusters_pull_them() {
        let cases = [
            (
                "https://index.docker.io/v2/",
                "library/nginx",
                Some("1"),
                None,
                "docker.io/library/nginx:1",
            ),
            (
                "https://registry.hub.docker.com/v2/",
                "nginx",
                Some("1"),
                None,
                "docker.io/library/nginx:1",
            ),
            (
                "https://r.example.com",
                "a/b",
                Some("1"),
                None,
                "r.example.com/a/b:1",
            ),
            (
                "http://172.30.1.1:5000/v2",
                "/a/",
                Some("1"),
                None,
                "172.30.1.1:5000/a:1",
            ),
            (
                "https://r.example.com",
                "docker.io/library/x",
                Some("v1"),
                None,
                "docker.io/library/x:v1",
            ),
            (
                "https://r.example.com",
                "localhost:5000/x",
                Some("v1"),
                None,
                "localhost:5000/x:v1",
            ),
            (
                "https://r.example.com",
                "x.y",
                Some("1"),
                None,
                "r.example.com/x.y:1",
            ),
            (
                "https://r.example.com",
                "a",
                Some("1"),
                Some("sha256:0a"),
                "r.example.com/a:1",
            ),
            (
                "https://r.example.com",
                "a",
                Some(""),
                Some("sha256:0a"),
                "r.example.com/a@sha256:0a",
            ),
            (
                "https://u:p@r.example.com/",
                "a",
                None,
                None,
                "r.example.com/a",
            ),
            ("", "a/b", Some("1"), None, "a/b:1"),
        ];
        for (url, path, tag, digest, expected) in cases {
            assert_eq!(image_name(url, path, tag, digest), expected, "{url} {path}");
        }
    }
}
