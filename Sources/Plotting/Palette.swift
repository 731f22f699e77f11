/// Colours that stay apart for most eyes and on paper.
package enum Palette {
    package static let blue = "#2f6f9f"
    package static let lightBlue = "#6fb1d1"
    package static let teal = "#3f9c8a"
    package static let orange = "#d98a3d"
    package static let red = "#b8453a"
    package static let purple = "#7d5ba6"
    package static let olive = "#9a8f2f"
    package static let grey = "#9aa5b1"

    static let ink = "#1f2933"
    static let faint = "#616e7c"
    static let grid = "#e4e7eb"
    static let frame = "#b8c2cc"
    static let shade = "#f5f7fa"
}
