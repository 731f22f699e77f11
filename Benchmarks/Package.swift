// swift-tools-version: 6.1
import PackageDescription

// A package of its own, so that neither users nor tests of the library build the benchmark package.
let package = Package(
    name: "fastvlm-benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        // Without the server.
        .package(name: "swift-fastvlm", path: "..", traits: ["GIF", "TIFF", "HEIF"]),
        // Without its counting of allocations, which needs an allocator of its own.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "LibraryBenchmarks",
            dependencies: [
                .product(name: "FastVLM", package: "swift-fastvlm"),
                .product(name: "FastVLMEmbedded", package: "swift-fastvlm"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/LibraryBenchmarks",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ]
)
