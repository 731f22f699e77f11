internal import CImageCodecs

/// Colours of a profile to sRGB, for a picture's rows where they are.
final class ColorConversion {
    private let colours: OpaquePointer

    private init(_ colours: OpaquePointer) { self.colours = colours }

    deinit { fvc_colours_close(colours) }

    enum Outcome {
        /// The picture is sRGB, as far as 8 bits show it.
        case unneeded
        case needed(ColorConversion)
        /// The profile cannot be used; the reason.
        case unusable(String)
    }

    /// The conversion that the picture's profile asks for.
    static func find(for source: any RowSource) -> Outcome {
        let header = source.header
        let outcome = source.withProfile { profile -> Outcome in
            var opened: OpaquePointer?
            var failure = fvc_failure()
            let status = fvc_colours_open(
                profile.baseAddress, profile.count, header.isGrey ? 1 : 0, Int32(header.channels), &opened,
                &failure)
            guard status == FVC_OK else {
                return .unusable(
                    withUnsafeBytes(of: failure.text) { text in
                        String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
                    })
            }
            return opened.map { .needed(ColorConversion($0)) } ?? .unneeded
        }
        return outcome ?? .unneeded
    }

    /// - Parameter pixels: [count, channels], uint8.
    func apply(to pixels: UnsafeMutableBufferPointer<UInt8>, count: Int) {
        fvc_colours_apply(colours, pixels.baseAddress, count)
    }
}
