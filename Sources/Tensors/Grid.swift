/// A matrix cut into tasks: blocks of rows, and in each of them ranges of columns, neighbours sharing their rows.
struct Grid {
    let rows: Int
    let rowsPerTask: Int
    /// Columns, or whatever is counted across: panels, channels.
    let columns: Int
    let columnsPerTask: Int

    var tasks: Int { (rows + rowsPerTask - 1) / rowsPerTask * columnTasks }
    private var columnTasks: Int { (columns + columnsPerTask - 1) / columnsPerTask }

    subscript(task: Int) -> (rows: Range<Int>, columns: Range<Int>) {
        let row = task / columnTasks * rowsPerTask
        let column = task % columnTasks * columnsPerTask
        return (row..<min(row + rowsPerTask, rows), column..<min(column + columnsPerTask, columns))
    }
}
