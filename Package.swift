// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target of the package is compiled under the same strict rules.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["TestSupport"], swiftSettings: strict)
}

/// A product that only the server's sockets need.
func server(_ product: String, _ package: String) -> Target.Dependency {
    .product(name: product, package: package, condition: .when(traits: ["Server"]))
}

let package = Package(
    name: "swift-fastvlm",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "FastVLM", targets: ["FastVLM"]),
        .library(name: "FastVLMEmbedded", targets: ["FastVLMEmbedded"]),
        .executable(name: "fastvlm", targets: ["FastVLMCommand"]),
    ],
    // Image formats that need a library beyond those of the web's formats; all are built unless
    // --disable-default-traits is given, and a caller of the library still has to allow them.
    traits: [
        .trait(name: "GIF", description: "Decode GIF through giflib."),
        .trait(name: "TIFF", description: "Decode TIFF through libtiff."),
        .trait(name: "HEIF", description: "Decode HEIC and AVIF through libheif, libde265 and dav1d."),
        // Without it no package of HTTP is fetched or built; the libraries never need one.
        .trait(name: "Server", description: "fastvlm serve: the HTTP server of the command line."),
        .trait(
            name: "TLS", description: "fastvlm serve with certificates, which builds BoringSSL.",
            enabledTraits: ["Server"]),
        .default(enabledTraits: ["GIF", "TIFF", "HEIF", "Server"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        // For the traits Server and TLS.
        .package(
            url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.1"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // The modules, lowest first. A module imports only what its own line lists; `make lint` checks it.
        .target(name: "CKernels", exclude: ["README.md"]),
        .systemLibrary(
            name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        .systemLibrary(
            name: "CWebP", pkgConfig: "libwebp", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(
            name: "CWebPDemux", pkgConfig: "libwebpdemux", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(name: "CLCMS", pkgConfig: "lcms2", providers: [.apt(["liblcms2-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "CImageCodecs",
            dependencies: ["CJPEG", "CPNG", "CWebP", "CWebPDemux", "CLCMS", "CZlib"],
            // Linked by name: pkg-config would be asked, and complain, even where the trait is off.
            cSettings: [
                .define("FVC_GIF", .when(traits: ["GIF"])), .define("FVC_TIFF", .when(traits: ["TIFF"])),
            ],
            cxxSettings: [.define("FVC_HEIF", .when(traits: ["HEIF"]))],
            linkerSettings: [
                .linkedLibrary("gif", .when(traits: ["GIF"])),
                .linkedLibrary("tiff", .when(traits: ["TIFF"])),
                // On Linux they are opened when the first such file is (heif_library.h).
                .linkedLibrary("heif", .when(platforms: [.macOS], traits: ["HEIF"])),
                .linkedLibrary("de265", .when(platforms: [.macOS], traits: ["HEIF"])),
                .linkedLibrary("dav1d", .when(platforms: [.macOS], traits: ["HEIF"])),
            ]),
        module("SystemFiles", []),
        module("Tensors", ["CKernels", "SystemFiles"]),
        module("StrictJSON", []),
        module("CheckpointFiles", ["StrictJSON", "SystemFiles"]),
        module("Checkpoints", ["Tensors", "StrictJSON", "CheckpointFiles", "SystemFiles"]),
        module("ImageInput", ["Checkpoints", "Tensors", "CImageCodecs", "SystemFiles"]),
        module(
            "Tokenization",
            [
                "StrictJSON", "CheckpointFiles", "SystemFiles",
                .product(name: "HeapModule", package: "swift-collections"),
            ]),
        module("StructuredOutput", ["StrictJSON", "Tokenization"]),
        module("Models", ["Tensors", "Checkpoints"]),
        module(
            "Generation",
            ["Models", "Checkpoints", "Tokenization", "StructuredOutput", "ImageInput", "Tensors"]),
        module(
            "FastVLM",
            [
                "Generation", "Models", "Tokenization", "StructuredOutput", "ImageInput", "Checkpoints",
                "Tensors", "SystemFiles",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
            ]),
        .systemLibrary(name: "CEdit", pkgConfig: "libedit", providers: [.apt(["libedit-dev"])]),
        // On Linux it is opened when the first address is fetched.
        .target(name: "CCurl", linkerSettings: [.linkedLibrary("curl", .when(platforms: [.macOS]))]),
        module("CommandInput", ["SystemFiles", "CCurl"]),
        // On Linux libcrypto is opened when the first hash is made.
        .target(name: "CCrypto"),
        // On Linux libarchive is opened when the first archive is.
        .target(name: "CArchive"),
        module("ModelHub", ["CCurl", "CCrypto", "CArchive", "StrictJSON", "SystemFiles"]),
        module("WireFormats", ["StrictJSON"]),
        module("RequestTranslation", ["FastVLM", "WireFormats"]),
        module(
            "BatchAnswers",
            [
                "FastVLM", "RequestTranslation", "WireFormats", "MediaFetch", "StrictJSON", "SystemFiles",
                "Tensors",
            ]),
        // All of the server but its sockets.
        .target(
            name: "FastVLMServer",
            dependencies: [
                "FastVLM", "RequestTranslation", "WireFormats", "MediaFetch",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            resources: [
                "index.html", "page.css", "page.svg", "page.js", "client.js", "picture.js", "runs.js",
            ].map {
                .embedInCode("Page/\($0)")
            },
            swiftSettings: strict),
        module(
            "HTTPListener",
            [
                "FastVLMServer",
                server("HummingbirdCore", "hummingbird"), server("HTTPTypes", "swift-http-types"),
                server("NIOCore", "swift-nio"), server("NIOPosix", "swift-nio"),
                server("NIOExtras", "swift-nio-extras"), server("NIOHTTPTypes", "swift-nio-extras"),
                server("ServiceLifecycle", "swift-service-lifecycle"),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["TLS"])),
                .product(name: "Logging", package: "swift-log"),
            ]),
        module("MediaFetch", ["CCurl"]),
        module("Benchmarking", ["Models", "Checkpoints", "Tensors"]),
        module("Plotting", []),
        // The small model that the package carries, for those who ask for it.
        .target(
            name: "FastVLMEmbedded", dependencies: ["FastVLM"], path: "Models",
            sources: ["FastVLMEmbedded.swift"],
            resources: [.copy("fastvlm-small")], swiftSettings: strict),
        .executableTarget(
            name: "FastVLMCommand",
            dependencies: [
                "FastVLM", "FastVLMEmbedded", "Benchmarking", "Plotting", "Generation", "Models",
                "Tokenization", "StructuredOutput", "ImageInput",
                "Checkpoints", "Tensors", "SystemFiles", "CommandInput", "CEdit",
                "ModelHub", "FastVLMServer", "MediaFetch", "BatchAnswers",
                .target(name: "HTTPListener", condition: .when(traits: ["Server"])),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/fastvlm",
            swiftSettings: strict),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        // Counts heap allocations, for the gates on speed.
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        tests("SystemFilesTests", ["SystemFiles"]),
        tests("TensorsTests", ["Tensors", "CKernels"]),
        tests("StrictJSONTests", ["StrictJSON"]),
        tests("CheckpointsTests", ["Checkpoints", "CheckpointFiles", "Tensors"]),
        tests("ImageInputTests", ["ImageInput", "Checkpoints", "Tensors", "SystemFiles"]),
        tests("TokenizationTests", ["Tokenization"]),
        tests("StructuredOutputTests", ["StructuredOutput", "Tokenization", "StrictJSON"]),
        tests("ModelsTests", ["Models", "Checkpoints", "Tensors"]),
        tests(
            "GenerationTests",
            [
                "Generation", "Models", "Tokenization", "StructuredOutput", "ImageInput", "Checkpoints",
                "Tensors", "AllocationCounter",
            ]),
        tests(
            "FastVLMTests",
            [
                "FastVLM", "FastVLMEmbedded", "Generation", "ImageInput", "SystemFiles", "Tokenization",
                "Checkpoints", "Models", "Tensors",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ]),
        tests(
            "BenchmarkingTests",
            ["Benchmarking", "Checkpoints", "Models", "Tensors", "AllocationCounter"]),
        tests("PlottingTests", ["Plotting"]),
        tests("CommandInputTests", ["CommandInput"]),
        tests("ModelHubTests", ["ModelHub", "SystemFiles"]),
        tests("WireFormatsTests", ["WireFormats"]),
        tests(
            "FastVLMServerTests",
            [
                "FastVLMServer", "FastVLM", "FastVLMEmbedded",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ]),
        tests("MediaFetchTests", ["MediaFetch"]),
        tests(
            "BatchAnswersTests",
            ["BatchAnswers", "FastVLM", "FastVLMEmbedded", "WireFormats", "SystemFiles"]),
        tests("CommandLineTests", []),
    ]
)

// The plugin that builds the documentation, for `make docs` alone.
if Context.environment["FASTVLM_DOCS"] != nil {
    package.dependencies.append(
        .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0"))
}
