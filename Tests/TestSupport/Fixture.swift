public import Foundation

/// Files under Tests/Fixtures, found from this source file so that tests run from any working directory.
public enum Fixture {
    /// The folder Tests/Fixtures.
    public static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures")

    /// - Parameter path: path below Tests/Fixtures, such as "tokenizer/cases.json".
    public static func url(_ path: String) -> URL { root.appending(path: path) }

    /// The bytes of a fixture; throws when it is missing.
    public static func data(_ path: String) throws -> Data { try Data(contentsOf: url(path)) }
}
