public import Foundation

extension Fixture {
    private struct NoStrip: Error {}

    /// The only row of blocks of a JPEG again and again between restart markers: a picture of any size out of a few
    /// kilobytes.
    /// - Parameters:
    ///   - strip: a baseline JPEG with restart markers after every row of blocks.
    ///   - height: the strip's.
    /// - Returns: a baseline JPEG as wide as the strip, `height * repeats` high.
    public static func tallJPEG(_ strip: Data, height: Int, repeats: Int) throws -> [UInt8] {
        let file = [UInt8](strip)
        func first(_ marker: UInt8) throws -> Int {
            guard
                let place = (0..<file.count - 1).first(where: { file[$0] == 0xFF && file[$0 + 1] == marker })
            else { throw NoStrip() }
            return place
        }
        let frame = try first(0xC0)
        let scan = try first(0xDA)
        let start = scan + 2 + Int(file[scan + 2]) << 8 + Int(file[scan + 3])
        let data = file[start..<(file.count - 2)]
        var result = Array(file[..<start])
        result[frame + 5] = UInt8((height * repeats) >> 8)
        result[frame + 6] = UInt8((height * repeats) & 255)
        for index in 0..<repeats {
            result += data
            if index < repeats - 1 { result += [0xFF, 0xD0 + UInt8(index % 8)] }
        }
        return result + [0xFF, 0xD9]
    }
}
