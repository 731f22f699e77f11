/// The page at `/`: its files, carried inside the program, and the headers that go with them.
///
/// Where the server has keys, the page needs one as everything else does: browsers ask for a password, which is the key.
enum Page {
    struct File: Sendable {
        let path: String
        let contentType: String
        let bytes: [UInt8]
    }

    static let files = [
        File(path: "/", contentType: "text/html; charset=utf-8", bytes: PackageResources.index_html),
        File(path: "/page.css", contentType: "text/css; charset=utf-8", bytes: PackageResources.page_css),
        File(path: "/page.svg", contentType: "image/svg+xml", bytes: PackageResources.page_svg),
        script("/page.js", PackageResources.page_js),
        script("/client.js", PackageResources.client_js),
        script("/picture.js", PackageResources.picture_js),
        script("/runs.js", PackageResources.runs_js),
    ]

    private static func script(_ path: String, _ bytes: [UInt8]) -> File {
        File(path: path, contentType: "text/javascript; charset=utf-8", bytes: bytes)
    }

    /// Sent with each of the files. Only what the server itself sends runs or is loaded, no other page frames this one,
    /// and the camera is the only device that it may ask for.
    static let headers = [
        (
            "Content-Security-Policy",
            """
            default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; \
            connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
            require-trusted-types-for 'script'
            """
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Permissions-Policy", "camera=(self), microphone=(), geolocation=(), display-capture=()"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        // A program of another version brings other files.
        ("Cache-Control", "no-cache"),
    ]
}
