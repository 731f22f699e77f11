#if os(Linux)
    import Foundation
    import TestSupport
    import Testing

    /// Libraries that few runs need are opened when one does, and say so when they are missing.
    @Suite("Libraries are opened when they are needed") struct LibraryTests {
        private static let needed = ["libcurl.so.4", "libheif.so.1", "libde265.so.0", "libdav1d.so.6"]

        /// A folder in which the loader finds something broken before it finds the library.
        private func withBroken<Result>(
            _ libraries: [String], _ body: (_ folder: URL, _ environment: [String: String]) throws -> Result
        ) throws -> Result {
            try Program.inFolder { folder in
                for library in libraries {
                    try Data("no library".utf8).write(to: folder.appending(path: library))
                }
                let others = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"].map { ":" + $0 } ?? ""
                return try body(folder, ["LD_LIBRARY_PATH": folder.path + others])
            }
        }

        private func describe(_ image: String, _ environment: [String: String]) throws -> Outcome {
            try Program.run(
                ["describe", "--model", Program.model, "--max-tokens", "1", image, "hello"],
                environment: environment)
        }

        @Test("a PNG is described without the libraries of HEIC and of addresses")
        func unneeded() throws {
            try withBroken(Self.needed) { _, environment in
                let outcome = try describe(Program.image, environment)
                #expect(outcome.status == 0, "\(outcome.errors)")
            }
        }

        @Test("an address without libcurl is an error that names it")
        func address() throws {
            try withBroken(["libcurl.so.4"]) { _, environment in
                let outcome = try describe("http://127.0.0.1:1/a.png", environment)
                #expect(outcome.status == 65 && outcome.errors.contains("libcurl.so.4"), "\(outcome.errors)")
            }
        }

        /// An image of `formats.json`, which holds it in base64.
        private func example(_ name: String) throws -> Data? {
            let cases = try JSONSerialization.jsonObject(with: Fixture.data("images/formats.json"))
            let found = (cases as? [[String: Any]])?.first { $0["name"] as? String == name }
            return (found?["file"] as? String).flatMap { Data(base64Encoded: $0) }
        }

        @Test(
            "HEIC and AVIF without one of their libraries are errors that name it and the package that has it",
            arguments: [
                ("libheif.so.1", "libheif1"), ("libde265.so.0", "libde265-0"), ("libdav1d.so.6", "libdav1d6"),
            ])
        func heif(library: String, package: String) throws {
            for name in ["heic-alpha", "avif-alpha"] {
                let data = try #require(try example(name))
                try withBroken([library]) { folder, environment in
                    let image = folder.appending(path: "image.\(name.prefix(4))")
                    try data.write(to: image)
                    let outcome = try describe(image.path, environment)
                    #expect(outcome.status == 65 && outcome.errors.contains(library), "\(outcome.errors)")
                    #expect(outcome.errors.contains("install the Debian package \(package),"))
                    #expect(!outcome.errors.contains("8-bit"))
                    #expect(try describe(image.path, [:]).status == 0)
                }
            }
        }
    }
#endif
