import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Arrays;
import java.io.StringReader;
import java.io.StringWriter;
import org.postgresql.PGConnection;

/**
 * An application with JDBC on a table of its own, message: nothing in it knows of chatcrypt.  Prints what its calls give,
 * a line each: NAME: rows.  PGPORT, PGDATABASE and PGUSER say where; JDBC has no Unix sockets.
 */
public class TableJdbc {
	static Connection db;

	static void show(String name, Object value) {
		System.out.println(name + ": " + value);
	}

	static String read(ResultSet rows) throws SQLException {
		StringBuilder all = new StringBuilder();
		int columns = rows.getMetaData().getColumnCount();
		while (rows.next()) {
			all.append('[');
			for (int i = 1; i <= columns; i++)
				all.append(i > 1 ? ", " : "").append(rows.getObject(i));
			all.append(']');
		}
		return all.toString().replace("\n", "\\n");
	}

	static String query(String sql, Object... arguments) throws SQLException {
		try (PreparedStatement one = db.prepareStatement(sql)) {
			for (int i = 0; i < arguments.length; i++)
				one.setObject(i + 1, arguments[i]);
			return one.execute() ? read(one.getResultSet()) : String.valueOf(one.getUpdateCount());
		}
	}

	static final String ALL = "SELECT id, chat_id, body, likes FROM message ORDER BY id";

	public static void main(String[] ignored) throws Exception {
		db = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
			+ "?user=" + System.getenv("PGUSER"));
		show("what is there", query(ALL));
		generatedKeys();
		batches();
		show("upsert", query("INSERT INTO message (id, chat_id, body) VALUES (?, 1, ?) ON CONFLICT (id) DO UPDATE SET body = message.body || excluded.body RETURNING *", 1L, "secret up"));
		show("upsert that does nothing", query("INSERT INTO message (id, chat_id, body) VALUES (1, 1, 'x') ON CONFLICT DO NOTHING"));
		show("update", query("UPDATE message SET body = ? WHERE id = ?", "secret two", 2L));
		show("update, returning", query("UPDATE message SET body = body || ? WHERE id < 3 RETURNING id, body", "!"));
		show("update of another column", query("UPDATE message SET likes = likes + 1 WHERE chat_id = ?", 2L));
		show("NULL", query("UPDATE message SET body = ? WHERE id = 5 RETURNING body", new Object[] {null}));
		preparedByTheServer();
		show("where", query("SELECT id FROM message WHERE body LIKE ? ORDER BY id", "% of many"));
		show("any", query("SELECT id FROM message WHERE body = ANY (?) ORDER BY id", db.createArrayOf("text", new String[] {"secret 8", "secret 9"})));
		types();
		fetchedInParts();
		updatableRows();
		transactions();
		copies();
		show("an error of uniqueness", error("INSERT INTO message (id, chat_id, body) VALUES (1, 1, 'double')"));
		show("delete by the body", query("DELETE FROM message WHERE body LIKE 'secret 2% of many' RETURNING id, body"));
		show("rows in the end", query(ALL));
		db.close();
	}

	static String error(String sql) {
		try {
			return query(sql);
		} catch (SQLException error) {
			return error.getSQLState();
		}
	}

	static void generatedKeys() throws SQLException {
		try (PreparedStatement one = db.prepareStatement("INSERT INTO message (chat_id, body) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
			one.setLong(1, 1);
			one.setString(2, "secret made");
			one.executeUpdate();
			show("generated keys, which are whole rows", read(one.getGeneratedKeys()));
		}
	}

	static void batches() throws SQLException {
		try (PreparedStatement one = db.prepareStatement("INSERT INTO message (chat_id, body) VALUES (?, ?)")) {
			for (int n = 0; n < 40; n++) {
				one.setLong(1, 1 + n % 3);
				one.setString(2, "secret " + n + " of many");
				one.addBatch();
			}
			show("batch", Arrays.toString(one.executeBatch()));
		}
		try (PreparedStatement one = db.prepareStatement("INSERT INTO message (id, chat_id, body) VALUES (?, 1, 'secret batch')")) {
			for (long id : new long[] {700, 1, 701}) {
				one.setLong(1, id);
				one.addBatch();
			}
			one.executeBatch();
		} catch (BatchUpdateException error) {
			show("a batch that fails", error.getSQLState());
		}
	}

	/* The driver names a statement after five runs; then results come in binary. */
	static void preparedByTheServer() throws SQLException {
		StringBuilder all = new StringBuilder();
		try (PreparedStatement one = db.prepareStatement("SELECT id, body, likes FROM message WHERE id = ?")) {
			for (long id = 1; id < 15; id++) {
				one.setLong(1, id);
				all.append(read(one.executeQuery()));
			}
		}
		show("prepared by the server", all);
	}

	static void types() throws SQLException {
		try (ResultSet rows = db.createStatement().executeQuery("SELECT id, body, message FROM message LIMIT 1")) {
			ResultSetMetaData about = rows.getMetaData();
			for (int i = 1; i <= 3; i++)
				show("type of column " + i, about.getColumnName(i) + " " + about.getColumnTypeName(i) + " " + about.getColumnClassName(i) + " " + about.getPrecision(i));
		}
		try (ResultSet columns = db.getMetaData().getColumns(null, "app", "message", "%")) {
			StringBuilder all = new StringBuilder();
			while (columns.next())
				all.append(columns.getString("COLUMN_NAME")).append(' ').append(columns.getString("TYPE_NAME")).append(' ').append(columns.getString("NULLABLE")).append(", ");
			show("columns", all);
		}
	}

	static void fetchedInParts() throws SQLException {
		db.setAutoCommit(false);
		try (PreparedStatement one = db.prepareStatement(ALL)) {
			one.setFetchSize(3);
			show("fetched in parts", read(one.executeQuery()));
		}
		db.commit();
		db.setAutoCommit(true);
	}

	static void updatableRows() throws SQLException {
		try (Statement one = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
				ResultSet rows = one.executeQuery("SELECT id, chat_id, body FROM app.message WHERE id IN (3, 4) ORDER BY id")) {
			rows.next();
			rows.updateString("body", rows.getString("body") + " through rows");
			rows.updateRow();
			rows.absolute(2);
			rows.deleteRow();
			rows.moveToInsertRow();
			rows.updateLong("id", 800);
			rows.updateLong("chat_id", 2);
			rows.updateString("body", "secret inserted");
			rows.insertRow();
		}
		show("updatable rows", query("SELECT * FROM message WHERE id IN (3, 4, 800) ORDER BY id"));
	}

	static void transactions() throws SQLException {
		db.setAutoCommit(false);
		db.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
		show("lock", query("SELECT id, body FROM message WHERE id = 7 FOR UPDATE"));
		query("UPDATE message SET body = body || ' held' WHERE id = 7");
		Savepoint point = db.setSavepoint();
		query("UPDATE message SET body = 'lost' WHERE id = 8");
		db.rollback(point);
		db.commit();
		db.setAutoCommit(true);
		show("lock and savepoint", query("SELECT id, body FROM message WHERE id IN (7, 8) ORDER BY id"));
	}

	static void copies() throws Exception {
		var copy = db.unwrap(PGConnection.class).getCopyAPI();
		show("COPY in", copy.copyIn("COPY message (id, chat_id, body) FROM STDIN WITH (FORMAT csv)", new StringReader("900,1,\"secret, copied\"\n901,2,\n")));
		StringWriter out = new StringWriter();
		copy.copyOut("COPY (SELECT id, body FROM message WHERE id >= 900 ORDER BY id) TO STDOUT", out);
		show("COPY out", out.toString().replace("\n", "|"));
	}
}
