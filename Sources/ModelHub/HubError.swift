/// Why a model cannot be downloaded, found or removed, in one sentence that ends in what to do.
package struct HubError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// What was asked for makes no sense.
        case usage
        /// The hub, or what stands in its place, does not answer as a hub does.
        case hub
        /// The hub knows no such repository, revision or file, or does not show it to us.
        case access
        /// A repository that this program cannot run.
        case unusable
        /// Bytes that are not those that the hub promised.
        case damaged
        /// Folders and files of this machine: permissions, free space, what is in the way.
        case storage
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// Text from a server made safe to print: one line, no control characters, not long.
func printable(_ text: String, limit: Int = 120) -> String {
    let scalars = text.unicodeScalars.prefix(limit).map { scalar in
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            || (0x202A...0x202E).contains(scalar.value)
            || (0x2066...0x2069).contains(scalar.value) ? "\u{FFFD}" : scalar
    }
    return String(String.UnicodeScalarView(scalars)) + (text.unicodeScalars.count > limit ? "…" : "")
}
