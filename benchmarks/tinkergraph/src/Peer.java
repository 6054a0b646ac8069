import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.apache.tinkerpop.gremlin.process.traversal.Order;
import org.apache.tinkerpop.gremlin.process.traversal.P;
import org.apache.tinkerpop.gremlin.process.traversal.TextP;
import org.apache.tinkerpop.gremlin.process.traversal.dsl.graph.GraphTraversal;
import org.apache.tinkerpop.gremlin.process.traversal.dsl.graph.GraphTraversalSource;
import org.apache.tinkerpop.gremlin.process.traversal.dsl.graph.__;
import org.apache.tinkerpop.gremlin.structure.Graph;
import org.apache.tinkerpop.gremlin.structure.T;
import org.apache.tinkerpop.gremlin.structure.Vertex;
import org.apache.tinkerpop.gremlin.structure.io.graphson.GraphSONWriter;
import org.apache.tinkerpop.gremlin.tinkergraph.structure.TinkerGraph;

/**
 * The queries of benchmarks/gremlin.py on TinkerGraph.
 *
 * <p>Arguments: a file with one JSON value a line, [id, {property: value}] for a node and [parent, child, label] for
 * an edge; and a JSON object with the literals of the queries. Prints one JSON object a line: the query's name, its
 * answer's size, milliseconds of CPU of its first run, and the median of its runs after two seconds of warming up.
 */
public final class Peer {
  private static final String[] INDEXED = {"Name", "Type", "TID", "State", "MTU", "Container.Labels.app"};
  private static final long WARM_UP = 2_000_000_000L;
  private static final long MEASURE = 400_000_000L;
  private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

  public static void main(String[] arguments) throws Exception {
    ObjectMapper json = new ObjectMapper();
    JsonNode given = json.readTree(arguments[1]);
    long start = CLOCK.getCurrentThreadCpuTime();
    TinkerGraph graph = load(json, arguments[0]);
    double loaded = (CLOCK.getCurrentThreadCpuTime() - start) / 1e6;
    Map<String, LongSupplier> queries = queries(graph, given);
    for (Map.Entry<String, LongSupplier> query : queries.entrySet()) {
      measure(json, query.getKey(), query.getValue());
    }
    System.gc();
    Runtime machine = Runtime.getRuntime();
    Map<String, Object> end = new LinkedHashMap<>();
    end.put("loaded", loaded);
    end.put("heap", machine.totalMemory() - machine.freeMemory());
    System.out.println(json.writeValueAsString(end));
  }

  private static TinkerGraph load(ObjectMapper json, String path) throws Exception {
    TinkerGraph graph = TinkerGraph.open();
    for (String key : INDEXED) {
      graph.createIndex(key, Vertex.class);
    }
    Map<String, Vertex> vertices = new HashMap<>();
    try (BufferedReader lines = Files.newBufferedReader(java.nio.file.Path.of(path))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode one = json.readTree(line);
        if (one.size() == 2) {
          String id = one.get(0).asText();
          List<Object> pairs = new ArrayList<>(List.of(T.id, id));
          for (Iterator<Map.Entry<String, JsonNode>> fields = one.get(1).fields(); fields.hasNext(); ) {
            Map.Entry<String, JsonNode> field = fields.next();
            pairs.add(field.getKey());
            pairs.add(json.treeToValue(field.getValue(), Object.class));
          }
          vertices.put(id, graph.addVertex(pairs.toArray()));
        } else {
          Vertex parent = vertices.get(one.get(0).asText());
          parent.addEdge(one.get(2).asText(), vertices.get(one.get(1).asText()));
        }
      }
    }
    return graph;
  }

  private static Map<String, LongSupplier> queries(TinkerGraph graph, JsonNode given) {
    GraphTraversalSource g = graph.traversal();
    String veth = given.get("veth").asText();
    String other = given.get("other").asText();
    String host = given.get("host").asText();
    String app = given.get("app").asText();
    String pattern = "^" + given.get("pattern").asText() + "$";
    long bytes = given.get("bytes").asLong();
    Map<String, LongSupplier> made = new LinkedHashMap<>();
    made.put("Has(Name)", () -> g.V().has("Name", veth).toList().size());
    made.put("Has(Type).Count", () -> g.V().has("Type", "veth").count().next());
    made.put("host.Out.Out.Dedup.Count", () -> g.V().has("Type", "host").out().out().dedup().count().next());
    made.put(
        "veth layer2 both ends",
        () -> g.V().has("Type", "veth").bothE("layer2").bothV().dedup().toList().size());
    made.put("Regex on Name", () -> g.V().has("Name", TextP.regex(pattern)).count().next());
    made.put("Gt on MTU", () -> g.V().has("MTU", P.gt(1500)).count().next());
    made.put("Gt on Metric.RxBytes", () -> g.V().has("Metric.RxBytes", P.gt(bytes)).count().next());
    made.put("dotted key =", () -> g.V().has("Container.Labels.app", app).toList().size());
    made.put("3 x Has", () -> g.V().has("Type", "veth").has("State", "UP").has("MTU", 9000).count().next());
    made.put("Values(MAC)", () -> g.V().has("Type", "veth").values("MAC").toList().size());
    made.put(
        "Sort.Limit(10)",
        () -> g.V().has("Type", "veth").order().by("Metric.RxBytes", Order.desc).limit(10).toList().size());
    made.put(
        "ShortestPath layer2",
        () ->
            g.V().has("Name", veth).repeat(__.both("layer2").dedup()).until(__.has("Name", other)).limit(1)
                .path().next().size());
    made.put("Descendants(0)", () -> owned(g, host).toList().size());
    made.put("SubGraph of that", () -> part(g, host));
    made.put("dump to JSON", () -> dump(graph));
    return made;
  }

  private static GraphTraversal<Vertex, Vertex> owned(GraphTraversalSource g, String host) {
    return g.V().has("Name", host).emit().repeat(__.out("ownership")).dedup();
  }

  private static long part(GraphTraversalSource g, String host) {
    Graph found =
        (Graph)
            owned(g, host).aggregate("x").outE().filter(__.inV().where(P.within("x"))).subgraph("s").cap("s").next();
    return found.traversal().V().count().next() + found.traversal().E().count().next();
  }

  private static long dump(TinkerGraph graph) {
    try {
      GraphSONWriter.build().create().writeGraph(OutputStream.nullOutputStream(), graph);
    } catch (java.io.IOException error) {
      throw new java.io.UncheckedIOException(error);
    }
    return graph.traversal().V().count().next() + graph.traversal().E().count().next();
  }

  private static void measure(ObjectMapper json, String name, LongSupplier query) throws Exception {
    long start = CLOCK.getCurrentThreadCpuTime();
    long answer = query.getAsLong();
    double first = (CLOCK.getCurrentThreadCpuTime() - start) / 1e6;
    for (long end = System.nanoTime() + WARM_UP; System.nanoTime() < end; ) {
      query.getAsLong();
    }
    List<Double> times = new ArrayList<>();
    for (long end = System.nanoTime() + MEASURE; times.size() < 3 || System.nanoTime() < end; ) {
      start = CLOCK.getCurrentThreadCpuTime();
      if (query.getAsLong() != answer) {
        throw new IllegalStateException(name + " gives different answers");
      }
      times.add((CLOCK.getCurrentThreadCpuTime() - start) / 1e6);
    }
    Collections.sort(times);
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("query", name);
    line.put("answer", answer);
    line.put("first", first);
    line.put("warm", times.get(times.size() / 2));
    System.out.println(json.writeValueAsString(line));
  }

  private Peer() {}
}
