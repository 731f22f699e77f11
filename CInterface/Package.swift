// swift-tools-version: 6.2
import PackageDescription

// A package of its own, because a package with unsafe flags cannot be a dependency. `CInterface/build.sh` builds it.
// The product is not called fastvlm, since that of this name would be built along with it: the command line.
let package = Package(
    name: "fastvlm-c",
    platforms: [.macOS(.v15)],
    products: [.library(name: "fastvlm-c", type: .dynamic, targets: ["FastVLMC"])],
    dependencies: [
        // Without the server, and without libtiff: it brings five libraries along, one of them (JBIG) under the GPL.
        .package(name: "swift-fastvlm", path: "..", traits: ["GIF", "HEIF"])
    ],
    targets: [
        // The header.
        .systemLibrary(name: "CFastVLM"),
        .target(
            name: "FastVLMC",
            dependencies: ["CFastVLM", .product(name: "FastVLM", package: "swift-fastvlm")],
            swiftSettings: [
                .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("InternalImportsByDefault"),
                .enableUpcomingFeature("MemberImportVisibility"),
            ],
            // --static-swift-stdlib alone does not reach the linking of a dynamic library.
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-static-stdlib", "-Xlinker", "-soname=libfastvlm.so",
                        "-Xlinker", "--version-script=\(Context.packageDirectory)/exports.map",
                    ],
                    .when(platforms: [.linux], configuration: .release))
            ]),
    ]
)
